"""What commands take: each argument is read here, and a wrong one is wrong usage (exit status 2)."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from parlour.cli.output import fail
from parlour.protocol.words import MAX_SDK_APP_ID

MAX_BOUND = 2**31 - 1
MAX_NAME_BYTES = 100


def parse_app_id(text: str) -> int:
    """An sdkAppId from the command line."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_SDK_APP_ID:
        raise typer.BadParameter(f"{text!r} is no sdkAppId: it is a number from 1 to {MAX_SDK_APP_ID}")
    return int(text)


def parse_number(text: str, option: str, *, least: int = 0, most: int = MAX_BOUND) -> int:
    """A whole number."""
    if not re.fullmatch(r"[0-9]{1,16}", text) or not least <= int(text) <= most:
        raise typer.BadParameter(f"{text!r} is no number from {least} to {most}", param_hint=option)
    return int(text)


def parse_number_or(word: str, text: str, option: str, *, least: int = 0, most: int = MAX_BOUND) -> int | None:
    """A whole number, or None for ``word``."""
    if text == word:
        return None
    try:
        return parse_number(text, option, least=least, most=most)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, and not {word!r}", param_hint=option) from None


def parse_one_of(text: str, option: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if text not in allowed:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(allowed)}", param_hint=option)
    return text


def parse_some_of(text: str, option: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """At least one of a few words, divided by commas; each once and in the order of ``allowed``."""
    given = {part.strip() for part in text.split(",")}
    for part in sorted(given - set(allowed)):
        raise typer.BadParameter(f"{part!r} is none of {', '.join(allowed)}", param_hint=option)
    return tuple(word for word in allowed if word in given)


def parse_name(text: str, option: str = "--name") -> str:
    """A name for people, in the size that the account REST takes too."""
    if len(text.encode("utf-8", "replace")) > MAX_NAME_BYTES or not text.isprintable():
        raise typer.BadParameter(
            f"a name has at most {MAX_NAME_BYTES} bytes and no control characters", param_hint=option
        )
    return text


def parse_user(text: str) -> str:
    """A userId, by the rule of the account service."""
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.accounts.user_ids import checked_user_id

    try:
        return checked_user_id(text)
    except AccountRefusedError as refused:
        raise typer.BadParameter(refused.detail, param_hint="USER") from None


AppArgument = Annotated[int, typer.Argument(metavar="ID", parser=parse_app_id, help="The sdkAppId.")]
AppOfAccountArgument = Annotated[
    int, typer.Argument(metavar="APP", parser=parse_app_id, help="The sdkAppId of the app.")
]
UserArgument = Annotated[
    str, typer.Argument(metavar="USER", parser=parse_user, help="The userId; upper and lower case differ.")
]
UsersArgument = Annotated[list[str], typer.Argument(metavar="USER...", parser=parse_user, help="The userIds.")]


def parse_secret(text: str, option: str) -> str:
    """A secret of 16 to 256 visible ASCII characters; ``-`` reads it from standard input, where no `ps` shows it."""
    secret = sys.stdin.readline().strip() if text == "-" else text
    if not re.fullmatch(r"[!-~]{16,256}", secret):
        raise typer.BadParameter("a key has 16 to 256 visible ASCII characters", param_hint=option)
    return secret


def read_public_key(path: Path) -> str:
    """The PEM text of an EC public key that can verify UserSigs; another one ends the command with the reason."""
    from parlour.usersig import KeyRefusedError, load_public_key

    try:
        pem = path.read_text(encoding="ascii")
        load_public_key(pem)
    except OSError as error:
        fail(f"The key file {path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        fail(f"The key file {path} is no PEM text.")
    except KeyRefusedError as error:
        fail(f"The key in {path} is refused. {error}")
    return pem
