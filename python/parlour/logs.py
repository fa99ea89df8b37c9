"""Logs: structlog for all, for people or as JSON, on stderr."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

log = structlog.get_logger(__name__)

SECRET_WORDS = (
    "usersig",
    "user_sig",
    "ticket",
    "token",
    "secret",
    "private_map_key",
    "privatemapkey",
    "password",
    "pwd",
)
"""A field whose name has one of these never reaches the log, whoever logs it."""

REDACTED = "…"

LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "aiosqlite", "alembic")

WINDOW = 10.0
"""Seconds within which a line that anybody can cause comes once."""

MOST_KINDS = 256


class OnceAWindow:
    """Lets a line of a kind pass once a window, and counts the rest. ``now`` in seconds."""

    def __init__(self, seconds: float = WINDOW) -> None:
        self._seconds = seconds
        self._kinds: dict[object, tuple[float, int]] = {}

    def take(self, kind: object, now: float) -> int | None:
        """How many of the kind were held back since the last that passed; None when this one is held back too."""
        since, held = self._kinds.get(kind, (-self._seconds, 0))
        if now - since < self._seconds:
            self._kinds[kind] = (since, held + 1)
            return None
        self._kinds.pop(kind, None)  # so that it goes to the end
        self._kinds[kind] = (now, 0)
        while len(self._kinds) > MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        return held


class WindowedLog:
    """Warnings about what strangers do: one line of each kind in a window, with how many more there were."""

    def __init__(self) -> None:
        self._window = OnceAWindow()

    def __call__(self, event: str, **fields: object) -> None:
        """Log a warning, unless its like was in the log just now."""
        held = self._window.take(event, time.monotonic())
        if held is not None:
            log.warning(event, **fields, **({"more_before": held} if held else {}))


class _LibraryWindow(logging.Filter):
    """The same for lines of libraries, which strangers cause too: broken requests, broken TLS."""

    def __init__(self) -> None:
        super().__init__()
        self._window = OnceAWindow()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes; its kind is the text before its arguments."""
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        return self._window.take((record.name, str(record.msg)[:80]), record.created) is not None


def configure_logs(level: Literal["debug", "info", "warning", "error"], *, as_json: bool, lasting: bool = True) -> None:
    """Set up the process's logs, those of libraries included (from warnings up).

    ``lasting`` for a process that logs much: loggers keep this set-up from their first line on.
    """
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    # Tracebacks without local variables: those may hold keys.
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(_LibraryWindow())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=lasting,
    )


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take out what is secret by its name, and line breaks that would forge a line of the log."""
    for name, value in event.items():
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = REDACTED
        elif isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = ascii(value)[1:-1]
    return event
