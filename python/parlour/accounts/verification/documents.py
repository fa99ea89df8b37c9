"""JSON documents of strangers, read strictly: what two readers could understand differently is not understood."""

from __future__ import annotations

from parlour import strict_json
from parlour.accounts.verification.failure import visible


class DocumentError(ValueError):
    """The text is not the JSON object it should be; it says how, as in "is not JSON"."""


def parse_object(content: bytes) -> dict[str, object]:
    """The members of a JSON object (RFC 8259). Raises DocumentError, also for a member named twice at any depth."""
    try:
        value = strict_json.decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise DocumentError("is not UTF-8") from None
    except strict_json.RepeatedMemberError as error:
        raise DocumentError(f"names the member '{visible(error.name, 40)}' twice") from None
    except strict_json.ConstantError as error:
        raise DocumentError(f"holds {error.word}, which is not JSON") from None
    except strict_json.DeepNestingError:
        raise DocumentError("is JSON that is nested too deeply") from None
    except ValueError:
        raise DocumentError("is not JSON") from None
    if not isinstance(value, dict):
        raise DocumentError("is JSON but not an object")
    return value
