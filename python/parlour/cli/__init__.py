"""The ``parlour`` command. Each command is a module of this package, imported when it is called or listed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import sys
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from parlour.cli.output import Refused, message, print_json

COMMANDS = ("serve", "demo", "app", "account", "usersig", "explain", "load", "top", "backup", "master-key")
"""Modules of this package, - written _; each has ``command`` (or a function of its own name): a function or a Typer."""


def _module(command: str) -> str:
    return f"{__name__}.{command.replace('-', '_')}"


class LazyCommands(TyperGroup):
    """Imports the module of a command when it is needed, so that ``parlour explain`` starts without the server."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands that are there."""
        return [name for name in COMMANDS if importlib.util.find_spec(_module(name)) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None for an unknown name."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(_module(cmd_name))
        command = getattr(module, "command", None) or getattr(module, cmd_name)
        if isinstance(command, typer.Typer):
            made: Any = typer.main.get_group(command)
            made.name = cmd_name
        else:
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            settings = getattr(command, "context_settings", None)
            single.command(cmd_name, context_settings=settings)(command)
            made = typer.main.get_command(single)
        self.commands[cmd_name] = made
        return made

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load all names before a wrong one is answered, so that the right one can be suggested."""
        if args and args[0] not in COMMANDS:
            for name in self.list_commands(ctx):
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


root = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Parlour: rooms of real-time audio and video on your own machine.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version() -> str:
    """The version of the installed package."""
    from importlib import metadata

    try:
        return metadata.version("parlour")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


@root.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: print JSON.")] = False,
) -> None:
    if show_version:
        if as_json:
            print_json({"version": version()})
        else:
            sys.stdout.write(f"parlour {version()}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(2)


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    try:
        _main()
    finally:
        # What is in their buffers goes out here. Python would complain of what fails when it flushes them at exit.
        are_written = [_is_written(stream) for stream in (sys.stdout, sys.stderr)]
        if not are_written[0]:
            sys.exit(1)


def _is_written(stream: TextIO) -> bool:
    """Whether all that was said went out; if not, the rest of it goes nowhere."""
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # Whoever read our output and left has enough.
        if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
            with contextlib.suppress(OSError):
                message(f"parlour: the output could not be written: {error.strerror}")
        return False
    return True


def _main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our characters shows ? for them
    try:
        root(prog_name="parlour")
    except Refused as refusal:
        if not refusal.answered and "--json" in sys.argv[1:]:
            print_json({"error": str(refusal)})
        message(f"parlour: {refusal}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        message(f"parlour: unexpected failure: {type(error).__name__}: {error}")
        message("Run it with PYTHONDEVMODE=1 in the environment to see where, and please report it.")
        sys.exit(1)
