"""Parlour: a self-hosted server for rooms of real-time audio and video."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlour.server import Server as Server

__all__ = ["Server"]


def __getattr__(name: str) -> object:
    """Import the server when somebody asks for it: most of what imports this package does not."""
    if name == "Server":
        # By name, so that the import rules do not take every part of the package for a user of the server.
        return import_module("parlour.server").Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
