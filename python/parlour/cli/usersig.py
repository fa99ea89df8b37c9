"""``parlour usersig``: sign, verify and inspect UserSigs."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn, cast

import typer

from parlour.cli.arguments import parse_app_id
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import fail, message, print_json, print_line, when
from parlour.cli.store import has_database
from parlour.protocol.words import MAX_ROOM_NAME_BYTES, MAX_ROOM_NUMBER, MAX_USER_ID_BYTES

if TYPE_CHECKING:
    from parlour.accounts.login_checks import LoginCandidate
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.storage import App, LoginContext, Storage
    from parlour.usersig import AppKeys, Envelope, Privilege

command = command_group("Sign, verify and inspect UserSigs and privateMapKeys.")

SigArgument = Annotated[
    str, typer.Argument(metavar="SIG", help="The UserSig or privateMapKey; - reads it from standard input.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        help=(
            "The app's secret key, or a PEM file of an EC key (version 1); - reads either from standard input, where "
            "no `ps` shows it. Default: the key in the data folder."
        ),
    ),
]
UserOption = Annotated[str, typer.Option("--user", metavar="USER", help="The userId that logs in.")]
AppOption = Annotated[int, typer.Option("--app", metavar="ID", parser=parse_app_id, help="The sdkAppId.")]
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
NO_APP = "There is no app {} in the data folder"


@command.command("sign")
@on_stores
def sign(
    options: StoreOptions,
    sdk_app_id: AppOption,
    user: UserOption,
    key: KeyOption = None,
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

    if not 1 <= len(user.encode("utf-8", "replace")) <= MAX_USER_ID_BYTES or not user.isprintable():
        raise typer.BadParameter(
            f"a userId has 1 to {MAX_USER_ID_BYTES} bytes and no control characters", param_hint="--user"
        )
    target, allowed = _room(room, string_room), _privileges(privileges)
    now = int(time.time()) if at is None else at
    lifetime = expire if expire is not None else DEFAULT_EXPIRE if target is None else DEFAULT_TICKET_EXPIRE
    given = given_key(key)
    try:
        if given is not None and given.pem is not None:
            if target is not None:
                fail("A privateMapKey is signed with the app's secret key, not with a PEM key.")
            signature = sign_v1(sdk_app_id, user, given.pem, now=now, expire=lifetime)
        else:
            secret = given.secret if given is not None else stored_secret(options, sdk_app_id)
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
    if not options.as_json:
        print_line(signature)
        return
    made: dict[str, object] = {"userSig" if target is None else "privateMapKey": signature}
    made |= {"sdkAppId": sdk_app_id, "userId": user, "issuedAt": now, "expiresAt": now + lifetime}
    if target is not None:
        made |= {"room": target, "privileges": list(allowed.names)}
    print_json(made)


@command.command("verify")
@on_stores
def verify(
    options: StoreOptions,
    sig: SigArgument,
    sdk_app_id: AppOption,
    user: UserOption,
    key: KeyOption = None,
    at: TimeOption = None,
) -> None:
    """Verify a UserSig as a login would. Prints 0, or the code of the first check that failed and exits 1.

    With the app from the data folder that includes its account type, the blacklist, kicks, and whether the account has
    to be there already. With --key the UserSig alone is checked. Never looked at: the lock-out after failed logins, and
    how many logins the app has in this second.
    """
    from parlour.accounts.login_checks import Proof, pass_checks
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.accounts.user_ids import checked_user_id
    from parlour.usersig import UserSigError, open_envelope
    from parlour.usersig import verify as check

    given, envelope = given_key(key, sig), open_envelope(_text(sig))
    now = int(time.time()) if at is None else at
    try:
        if given is not None:
            checked_user_id(user)
            verified = check(envelope, sdk_app_id=sdk_app_id, user_id=user, keys=_keys_of(given), now=now)
            proof = Proof(verified.issued_at, verified.expires_at, verified.key)
        else:
            proof = asyncio.run(pass_checks(_stored_candidate(options, sdk_app_id, user, envelope, now)))
    except (AccountRefusedError, UserSigError) as error:
        _refused(error.code, error.detail, options.as_json)
    if options.as_json:
        print_json(
            {
                "code": 0,
                "version": int(envelope.opened()),
                "sdkAppId": sdk_app_id,
                "userId": user,
                "issuedAt": proof.issued_at,
                "expiresAt": proof.expires_at,
                "keyFingerprint": proof.key,
            }
        )
    else:
        print_line("0")
        message(f"Good: user {user} of app {sdk_app_id}, until {when(cast(int, proof.expires_at))}.")


@command.command("inspect")
@on_stores
def inspect(
    options: StoreOptions,
    sig: SigArgument,
    sdk_app_id: Annotated[
        int | None,
        typer.Option("--app", metavar="ID", parser=parse_app_id, help="The sdkAppId that should be in it."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="The userId that should be in it.")] = None,
    key: KeyOption = None,
    at: TimeOption = None,
    ticket: Annotated[
        bool, typer.Option("--ticket", help="Judge it as a privateMapKey, by the checks of a join. --room does so too.")
    ] = False,
    room: RoomOption = None,
    string_room: StringRoomOption = False,
) -> None:
    """Show what is in a UserSig, each check in its order, and the likely mistake. Exits 1 if a login is refused.

    With the app from the data folder it also says what around the UserSig refuses a login: the account type, the
    blacklist, a kick, an account that has to be there already. Never looked at: the lock-out after failed logins, and
    how many logins the app has in this second.
    """
    from parlour.cli.inspection import as_dict, show
    from parlour.usersig import ALL_METHODS
    from parlour.usersig import inspect as look

    given, text = given_key(key, sig), _text(sig)
    now = int(time.time()) if at is None else at
    target = _room(room, string_room)
    ticket = ticket or target is not None
    known: dict[int, AppKeys] = {}
    stored, context = None, None
    keys = None if given is None else _keys_of(given)
    app_inside, user_inside = _said_inside(text)
    asked_app, asked_user = sdk_app_id or app_inside, user_inside if user is None else user
    if given is None and (options.data is not None or options.config is not None or has_database()):
        apps, context = _stored_apps(options, asked_app, asked_user)
        known = {one.sdk_app_id: one.keys for one in apps}
        stored = next((one for one in apps if one.sdk_app_id == asked_app), None)
        keys = known.pop(stored.sdk_app_id) if stored is not None else None
    # A join takes its ticket by the app's keys alone; the account type and what follows are asked at the login.
    at_login = context if stored is not None and not ticket else None
    found = look(
        text,
        sdk_app_id=sdk_app_id,
        user_id=user,
        keys=keys,
        now=now,
        methods=ALL_METHODS if at_login is None else _methods(at_login),
        ticket=ticket,
        room=target,
        other_apps=known,
    )
    around = None
    if at_login is not None and stored is not None:
        around = _around(at_login, stored, asked_user, text, found.issued_at)
    if options.as_json:
        print_json(as_dict(found, around))
    else:
        show(found, now, around or ())
    if found.code is not None or around:
        raise typer.Exit(1)


def _methods(context: LoginContext) -> tuple[str, ...]:
    """The methods of the account type; all of them where it cannot be read, which is told beside the UserSig."""
    from parlour.storage.model import METHODS, AccountType

    return context.account_type.methods if isinstance(context.account_type, AccountType) else METHODS


def _around(context: LoginContext, app: App, user: str, text: str, issued_at: int | None) -> list[AccountRefusedError]:
    """Why a login is refused whatever the UserSig's own checks say, in the order of a login."""
    from parlour.accounts.login_checks import CHECKS, LoginCandidate, Proof, prove_by_usersig, refusals
    from parlour.usersig import open_envelope

    steps = {"1"}
    if user:
        steps |= {"2", "blacklist", "10"} | (set() if issued_at is None else {"9"})
    candidate = LoginCandidate(app, context, user, text, open_envelope(text), 0, prove_by_usersig)
    candidate.proof = Proof(issued_at or 0)
    return asyncio.run(refusals(candidate, [check for check in CHECKS if check.step in steps]))


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


def _said_inside(text: str) -> tuple[int | None, str]:
    """The app and the user that a UserSig names, unproven; None and "" for what it does not name."""
    from parlour.usersig import open_envelope

    members = open_envelope(text).members
    said, user = str(members.get("TLS.sdkappid", members.get("TLS.sdk_appid", ""))), members.get("TLS.identifier")
    is_app = said.isascii() and said.isdigit() and len(said) <= 10
    return int(said) if is_app else None, user if isinstance(user, str) else ""


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
    return _standard_input() if sig == "-" else sig


def _standard_input() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        fail("What came through standard input is no text in UTF-8.")


class GivenKey(NamedTuple):
    """The key of --key: a secret, or a PEM text."""

    secret: str
    pem: str | None


def given_key(key: str | None, sig: str = "") -> GivenKey | None:
    """The key if one was given: as the option, in the file that it names, or through standard input."""
    if key != "-":
        return None if key is None else GivenKey(key, _pem(key))
    if sig == "-":
        raise typer.BadParameter("standard input holds SIG or the key, not both", param_hint="--key")
    text = _standard_input()
    if not text:
        raise typer.BadParameter("there is no key in standard input", param_hint="--key")
    return GivenKey(text, text + "\n" if "-----BEGIN" in text else None)


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


def _keys_of(given: GivenKey) -> AppKeys:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from parlour.usersig import AppKeys, KeyRefusedError, load_private_key, load_public_key

    pem = given.pem
    if pem is None:
        return AppKeys(secrets=(given.secret,))
    try:
        if "PRIVATE KEY" in pem:
            public = load_private_key(pem).public_key()
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
        else:
            load_public_key(pem)
    except KeyRefusedError as error:
        fail(f"The key is refused. {error}")
    return AppKeys(public_keys=(pem,))


def _stored_candidate(
    options: StoreOptions, sdk_app_id: int, user: str, envelope: Envelope, now: int
) -> LoginCandidate:
    """The login as a server would judge it, but for what only a server counts. Refuses with 70020."""
    from parlour.accounts.login_checks import LoginCandidate, lookup_name, prove_by_usersig
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.errors import ErrorCode

    async def work(storage: Storage) -> LoginCandidate:
        context = await storage.accounts.login_context(sdk_app_id, lookup_name(user))
        app = _readable_app(context)
        if app is None:
            raise AccountRefusedError(ErrorCode.SDKAPPID_NOT_FOUND, NO_APP.format(sdk_app_id))
        return LoginCandidate(app, context, user, envelope.user_sig, envelope, now, prove_by_usersig)

    return options.run(work)


def _stored_apps(
    options: StoreOptions, sdk_app_id: int | None, user: str
) -> tuple[tuple[App, ...], LoginContext | None]:
    """Every app, and what is stored about the one in question and its user."""
    from parlour.accounts.login_checks import lookup_name

    async def work(storage: Storage) -> tuple[tuple[App, ...], LoginContext | None]:
        apps = await storage.list_apps()
        if sdk_app_id not in {app.sdk_app_id for app in apps}:
            return apps, None
        context = await storage.accounts.login_context(sdk_app_id, lookup_name(user))
        _readable_app(context)
        return apps, context

    return options.run(work)


def _readable_app(context: LoginContext) -> App | None:
    """The app; one that cannot be read ends the command with the store's own sentence."""
    from parlour.storage import StorageError

    if isinstance(context.app, StorageError):
        raise context.app
    return context.app


def stored_secret(options: StoreOptions, sdk_app_id: int) -> str:
    """The app's newest secret key, from the data folder."""

    async def work(storage: Storage) -> App | None:
        return await storage.get_app(sdk_app_id)

    found = options.run(work)
    if found is None:
        fail(f"{NO_APP.format(sdk_app_id)}: see `parlour app list`, or give its key with --key.")
    keys = found.keys
    if not keys.secrets:
        fail(f"App {sdk_app_id} has no secret key: sign with --key and the PEM file of its private key.")
    return keys.secrets[-1]  # the newest: in a rotation the older ones are on their way out
