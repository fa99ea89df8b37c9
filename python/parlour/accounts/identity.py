"""Who a client is, once proven."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of an app."""

    sdk_app_id: int
    user_id: str
