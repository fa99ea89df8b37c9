"""What goes wrong with a load: a sentence for the person who started it."""

from __future__ import annotations


class LoadError(Exception):
    """The load cannot be put on the server, or the server ended it; the text says why."""
