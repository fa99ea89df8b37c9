"""JSON documents of strangers, read strictly: what two readers could understand differently is not understood."""

from __future__ import annotations

import json
from typing import NoReturn

from parlour.accounts.verification.failure import visible


class DocumentError(ValueError):
    """The text is not the JSON object it should be; it says how, as in "is not JSON"."""


def parse_object(content: bytes) -> dict[str, object]:
    """The members of a JSON object (RFC 8259). Raises DocumentError, also for a member named twice at any depth."""
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except DocumentError:
        raise
    except UnicodeDecodeError:
        raise DocumentError("is not UTF-8") from None
    except RecursionError:
        raise DocumentError("is JSON that is nested too deeply") from None
    except ValueError:
        raise DocumentError("is not JSON") from None
    if not isinstance(value, dict):
        raise DocumentError("is JSON but not an object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise DocumentError(f"names the member '{visible(name, 40)}' twice")
        members[name] = value
    return members


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"holds {name}, which is not JSON")
