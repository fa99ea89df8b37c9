"""Addresses of servers, as commands take them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

import typer


def server_parts(url: str) -> SplitResult:
    """The parts of a server's address. Raises ``typer.BadParameter`` for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise typer.BadParameter(f"{url!r} is no http:// or https:// address of a server", param_hint="URL")
    return parts
