"""``parlour usersig``: sign, verify and inspect UserSigs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from parlour.cli.arguments import parse_app_id
from parlour.cli.output import DataOption, JsonOption, fail, message, print_json, print_line, when
from parlour.cli.store import has_database, with_storage

if TYPE_CHECKING:
    from parlour.storage import App, Storage
    from parlour.usersig import AppKeys, Privilege

command = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Sign, verify and inspect UserSigs and privateMapKeys.",
)

SigArgument = Annotated[
    str, typer.Argument(metavar="SIG", help="The UserSig or privateMapKey; - reads it from standard input.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The app's secret key, or a PEM file of an EC key (version 1). Default: the key in the data folder.",
    ),
]
UserOption = Annotated[str, typer.Option("--user", metavar="USER", help="The userId that logs in.")]
AppOption = Annotated[str, typer.Option("--app", metavar="ID", help="The sdkAppId.")]
TimeOption = Annotated[
    int | None, typer.Option("--time", min=0, metavar="SECONDS", help="Unix time to take for now. Default: the clock.")
]

RoomOption = Annotated[
    str | None,
    typer.Option("--room", metavar="N|TEXT", help="For a privateMapKey: the room's number or name."),
]
StringRoomOption = Annotated[
    bool, typer.Option("--string-room", help="The room's name looks like a number, but is a name (useStringRoomId).")
]
MAX_ROOM_NUMBER = 2**32 - 2
MAX_ROOM_NAME_BYTES = 64


@command.command("sign")
def sign(
    app: AppOption,
    user: UserOption,
    key: KeyOption = None,
    data: DataOption = None,
    expire: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**31 - 1, metavar="SECONDS", help="Lifetime. Default: 604800 (7 days), with --room 300."
        ),
    ] = None,
    at: TimeOption = None,
    room: RoomOption = None,
    string_room: StringRoomOption = False,
    privileges: Annotated[
        str,
        typer.Option(
            metavar="255|NAMES", help="What the privateMapKey allows: a number, or names such as enter,receive-audio."
        ),
    ] = "255",
    as_json: JsonOption = False,
) -> None:
    """Sign a UserSig for one user and print it, and nothing else. With --room: a privateMapKey for that room."""
    from parlour.usersig import (
        DEFAULT_EXPIRE,
        DEFAULT_TICKET_EXPIRE,
        KeyRefusedError,
        UserbufError,
        sign_private_map_key,
        sign_v1,
        sign_v2,
    )

    sdk_app_id = parse_app_id(app)
    if not 1 <= len(user.encode("utf-8", "replace")) <= 32 or not user.isprintable():
        raise typer.BadParameter("a userId has 1 to 32 bytes and no control characters", param_hint="--user")
    target, allowed = _room(room, string_room), _privileges(privileges)
    now = int(time.time()) if at is None else at
    lifetime = expire if expire is not None else DEFAULT_EXPIRE if target is None else DEFAULT_TICKET_EXPIRE
    pem = None if key is None else _pem(key)
    try:
        if pem is not None:
            if target is not None:
                fail("A privateMapKey is signed with the app's secret key, not with a PEM key.")
            signature = sign_v1(sdk_app_id, user, pem, now=now, expire=lifetime)
        else:
            secret = key if key is not None else _stored_secret(data, sdk_app_id)
            if target is None:
                signature = sign_v2(sdk_app_id, user, secret, now=now, expire=lifetime)
            else:
                signature = sign_private_map_key(
                    sdk_app_id, user, secret, room=target, now=now, expire=lifetime, privileges=allowed
                )
    except KeyRefusedError as error:
        fail(f"The key is refused. {error}")
    except UserbufError as error:
        fail(f"There is no privateMapKey with these values: {error}.")
    if not as_json:
        print_line(signature)
        return
    made: dict[str, object] = {"userSig" if target is None else "privateMapKey": signature}
    made |= {"sdkAppId": sdk_app_id, "userId": user, "issuedAt": now, "expiresAt": now + lifetime}
    if target is not None:
        made |= {"room": target, "privileges": list(allowed.names)}
    print_json(made)


@command.command("verify")
def verify(
    sig: SigArgument,
    app: AppOption,
    user: UserOption,
    key: KeyOption = None,
    data: DataOption = None,
    at: TimeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a UserSig as a login would. Prints 0, or the code of the first check that failed and exits 1."""
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.accounts.user_ids import checked_user_id
    from parlour.errors import ErrorCode
    from parlour.usersig import UserSigError
    from parlour.usersig import verify as check

    sdk_app_id = parse_app_id(app)
    keys = _keys_given(key) if key is not None else _stored_keys(data, sdk_app_id)
    if keys is None:
        _refused(ErrorCode.SDKAPPID_NOT_FOUND, f"There is no app {sdk_app_id} in the data folder", as_json)
    try:
        checked_user_id(user)
    except AccountRefusedError as error:
        _refused(error.code, error.detail, as_json)
    now = int(time.time()) if at is None else at
    try:
        proven = check(_text(sig), sdk_app_id=sdk_app_id, user_id=user, keys=keys, now=now)
    except UserSigError as error:
        _refused(error.code, error.detail, as_json)
    if as_json:
        print_json(
            {
                "code": 0,
                "version": int(proven.version),
                "sdkAppId": proven.sdk_app_id,
                "userId": proven.user_id,
                "issuedAt": proven.issued_at,
                "expiresAt": proven.expires_at,
                "keyFingerprint": proven.key,
            }
        )
    else:
        print_line("0")
        message(f"Good: user {user} of app {sdk_app_id}, until {when(proven.expires_at)}.")


@command.command("inspect")
def inspect(
    sig: SigArgument,
    app: Annotated[str | None, typer.Option("--app", metavar="ID", help="The sdkAppId that should be in it.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="The userId that should be in it.")] = None,
    key: KeyOption = None,
    data: DataOption = None,
    at: TimeOption = None,
    ticket: Annotated[
        bool, typer.Option("--ticket", help="Judge it as a privateMapKey, by the checks of a join. --room does so too.")
    ] = False,
    room: RoomOption = None,
    string_room: StringRoomOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a UserSig, each check in its order, and the likely mistake. Exits 1 if a check fails."""
    from parlour.cli.inspection import as_dict, show
    from parlour.usersig import inspect as look

    text = _text(sig)
    now = int(time.time()) if at is None else at
    sdk_app_id = None if app is None else parse_app_id(app)
    target = _room(room, string_room)
    known: dict[int, AppKeys] = {}
    if key is None and (data is not None or has_database(None)):
        known = {stored.sdk_app_id: stored.keys for stored in _stored_apps(data)}
    keys = None if key is None else _keys_given(key)
    if keys is None:
        inside = sdk_app_id if sdk_app_id is not None else _app_inside(text)
        keys = known.pop(inside, None) if inside is not None else None
    found = look(
        text,
        sdk_app_id=sdk_app_id,
        user_id=user,
        keys=keys,
        now=now,
        ticket=ticket or target is not None,
        room=target,
        other_apps=known,
    )
    if as_json:
        print_json(as_dict(found))
    else:
        show(found, now)
    if found.code is not None:
        raise typer.Exit(1)


def _room(text: str | None, is_name: bool) -> int | str | None:
    """The room: digits are a number unless they are said to be a name."""
    if text is None:
        if is_name:
            raise typer.BadParameter("give the room's name with --room", param_hint="--string-room")
        return None
    if text.isascii() and text.isdigit() and not is_name:
        if len(text) > 10 or not 1 <= int(text) <= MAX_ROOM_NUMBER:
            raise typer.BadParameter(f"a room number is from 1 to {MAX_ROOM_NUMBER}", param_hint="--room")
        return int(text)
    if not 1 <= len(text.encode("utf-8", "replace")) <= MAX_ROOM_NAME_BYTES or not text.isprintable():
        raise typer.BadParameter(
            f"a room's name has 1 to {MAX_ROOM_NAME_BYTES} bytes and no control characters", param_hint="--room"
        )
    return text


def _privileges(text: str) -> Privilege:
    """The privileges: a number, or names divided by commas."""
    from parlour.usersig import Privilege

    if text.isascii() and text.isdigit():
        if len(text) > 3 or int(text) > Privilege.ALL:
            raise typer.BadParameter("as a number it is from 0 to 255", param_hint="--privileges")
        return Privilege(int(text))
    known = {name: one for one in Privilege for name in one.names}
    allowed = Privilege(0)
    for name in filter(None, (part.strip() for part in text.lower().split(","))):
        if name != "all" and name not in known:
            raise typer.BadParameter(f"{name} is none; there are {', '.join(known)}, all", param_hint="--privileges")
        allowed |= known.get(name, Privilege.ALL)
    return allowed


def _app_inside(text: str) -> int | None:
    from parlour.usersig import inspect as look

    members = dict(look(text).fields)
    said = str(members.get("TLS.sdkappid", members.get("TLS.sdk_appid", "")))
    return int(said) if said.isascii() and said.isdigit() and len(said) <= 10 else None


def _refused(code: int, detail: str, as_json: bool) -> NoReturn:
    from parlour.errors import entry_of

    entry = entry_of(code)
    key = "" if entry is None else entry.key
    if as_json:
        print_json({"code": int(code), "key": key, "detail": detail})
    else:
        print_line(str(int(code)))
    message(f"Refused: {detail} ({key}). More: `parlour usersig inspect`, `parlour explain {int(code)}`.")
    raise typer.Exit(1)


def _text(sig: str) -> str:
    if sig != "-":
        return sig
    return sys.stdin.read().strip()


def _pem(key: str) -> str | None:
    """The PEM text, if the key is one or names a file with one."""
    if not key:
        raise typer.BadParameter("the key is empty", param_hint="--key")
    if key.lstrip().startswith("-----BEGIN"):
        return key
    path = Path(key)
    try:
        if len(key) > 1024:
            return None
        if key.endswith(".pem") and not path.exists():
            fail(f"There is no key file {key}.")
        if not path.is_file():
            return None
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        fail(f"The key file {key} cannot be read as text.")
    if "-----BEGIN" not in text:
        fail(f"The file {key} holds no PEM key; give a secret key as text, not as a file.")
    return text


def _keys_given(key: str) -> AppKeys:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from parlour.usersig import AppKeys, KeyRefusedError, load_private_key, load_public_key

    pem = _pem(key)
    if pem is None:
        return AppKeys(secrets=(key,))
    try:
        if "PRIVATE KEY" in pem:
            public = load_private_key(pem).public_key()
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
        else:
            load_public_key(pem)
    except KeyRefusedError as error:
        fail(f"The key is refused. {error}")
    return AppKeys(public_keys=(pem,))


def _stored_apps(data: str | None) -> tuple[App, ...]:
    async def work(storage: Storage) -> tuple[App, ...]:
        return await storage.list_apps()

    return with_storage(data, work)


def _stored_keys(data: str | None, sdk_app_id: int) -> AppKeys | None:
    async def work(storage: Storage) -> App | None:
        return await storage.get_app(sdk_app_id)

    found = with_storage(data, work)
    return None if found is None else found.keys


def _stored_secret(data: str | None, sdk_app_id: int) -> str:
    keys = _stored_keys(data, sdk_app_id)
    if keys is None:
        fail(f"There is no app {sdk_app_id} in the data folder: see `parlour app list`, or give its key with --key.")
    if not keys.secrets:
        fail(f"App {sdk_app_id} has no secret key: sign with --key and the PEM file of its private key.")
    return keys.secrets[-1]  # the newest: in a rotation the older ones are on their way out
