"""Logs: structlog for all, for people or as JSON, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for library in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "aiosqlite", "alembic"):
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
