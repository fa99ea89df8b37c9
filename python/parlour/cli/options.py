"""The options of every command on the stores, written once: ``--data``, ``--config`` and ``--json``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from parlour.cli.output import JsonOption, print_json, print_line
from parlour.cli.store import on_storage, server_settings

if TYPE_CHECKING:
    from parlour.settings import Settings
    from parlour.storage import Storage

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Whose stores a command works on, and whether its result is for a program."""

    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="Data folder of the server. Default: as `parlour serve` has it."),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings file (TOML) of the server. Default: none is read."),
    ] = None
    as_json: JsonOption = False

    def say(self, value: object, sentence: str) -> None:
        """Say that it is done: ``value`` to a program, the sentence to a person."""
        if self.as_json:
            print_json(value)
        else:
            print_line(sentence)

    def settings(self) -> Settings:
        """The settings that a server started with the same options and environment would have."""
        return server_settings(self.data, self.config)

    def run(
        self, work: Callable[[Storage], Awaitable[Result]], *, create: bool = False, patient: bool = False
    ) -> Result:
        """Run ``work`` on the account store; see ``on_storage``."""
        return on_storage(self.settings(), work, create=create, patient=patient)


def command_group(about: str) -> typer.Typer:
    """Commands under one name; ``about`` is what its help says."""
    return typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=about)


def on_stores(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options in place of its parameter ``options``; they come last in its help."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    shared = inspect.signature(StoreOptions, eval_str=True).parameters.values()

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        options = StoreOptions(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        command(options=options, **values)

    parameters = [parameter for parameter in own if parameter.name != "options"]
    with_options.__signature__ = inspect.Signature([*parameters, *shared])  # type: ignore[attr-defined]
    return with_options
