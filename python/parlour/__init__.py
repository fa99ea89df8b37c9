"""Parlour: a self-hosted server for rooms of real-time audio and video."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlour.server import Server as Server

__all__ = ["Server"]


def __getattr__(name: str) -> object:
    """Import the server when somebody asks for it: most of what imports this package does not."""
    if name == "Server":
        from parlour.server import Server

        return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
