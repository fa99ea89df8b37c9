"""How values that a client sent are shown in messages and logs: short, and with nothing a terminal would act on."""

from __future__ import annotations

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def shown(value: object) -> str:
    """A value as a literal of at most 60 characters, control characters made visible."""
    text = repr(value) if isinstance(value, str) else ascii(value)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"


def name_shown(value: object) -> str:
    """A name as it is if nothing in it can be misread, else as a literal."""
    plain = isinstance(value, str) and 0 < len(value) <= 60 and value.isprintable() and not set(value) & set(" '\",")
    return str(value) if plain else shown(value)


def duration(seconds: int) -> str:
    """A span of time in its two largest units: ``3 h 12 min``."""
    for index, (name, size) in enumerate(_UNITS):
        if seconds >= size:
            text = f"{seconds // size} {name}"
            rest = seconds % size
            if rest and index + 1 < len(_UNITS):
                smaller, smaller_size = _UNITS[index + 1]
                if rest >= smaller_size:
                    text += f" {rest // smaller_size} {smaller}"
            return text
    return "0 s"
