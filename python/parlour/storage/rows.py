"""Between stored rows and what they mean. A row that cannot be read is an ``UnreadableRowError`` that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Row

from parlour.storage.errors import StorageError, UnreadableRowError
from parlour.storage.model import (
    APP_STATES,
    KINDS,
    METHODS,
    REGISTRATIONS,
    Account,
    AccountType,
    App,
    AppLimits,
    EndpointVerification,
    OidcVerification,
    Restrictions,
    StoredKey,
    Verification,
)
from parlour.storage.secrets import MasterKey
from parlour.usersig import AppKeys

TOKEN_SECRET = "token_secret"  # noqa: S105 - the name of the row
TOKEN_SECRET_BYTES = 32


def read_app(row: Row[Any], keys: Sequence[Row[Any]], master: MasterKey) -> App:
    """An app from its row and the rows of its keys. Raises ``UnreadableRowError`` or ``SealedError``."""
    with _reading(f"What is stored about app {row.sdk_app_id}"):
        stored = [read_key(key, master) for key in keys]
        return App(
            sdk_app_id=row.sdk_app_id,
            name=_text(row.name),
            state=_one_of(row.state, APP_STATES),
            created_at=_number(row.created_at),
            keys=AppKeys(
                tuple(key.value for key in stored if key.kind == "secret"),
                tuple(key.value for key in stored if key.kind == "public"),
            ),
            account_type=None if row.account_type is None else _number(row.account_type),
            owner=None if row.owner is None else _number(row.owner),
            admins=tuple(_text(admin) for admin in _list(row.admins)),
            registration=_one_of(row.registration, REGISTRATIONS),
            kinds=tuple(_one_of(kind, KINDS) for kind in _list(row.kinds)),
            advanced_permission=bool(_number(row.advanced_permission)),
            limits=AppLimits(**{_text(name): _number(value) for name, value in _object(row.limits).items()}),
            verification=None if row.verification is None else _verification(row.verification, row.sdk_app_id, master),
        )


def read_key(row: Row[Any], master: MasterKey) -> StoredKey:
    """A key of an app; the secret of one is opened."""
    with _reading(f"A stored key of app {row.sdk_app_id}"):
        kind = _one_of(row.kind, ("secret", "public"))
        value = _text(row.value)
        created_at = _number(row.created_at)
    if kind == "secret":
        value = master.open(value, key_place(row.sdk_app_id))
    return StoredKey(row.id, kind, value, created_at)


def read_account(row: Row[Any]) -> Account:
    """An account from its row."""
    with _reading(f"The stored account {row.user_id!r} of app {row.sdk_app_id}"):
        return Account(
            row.sdk_app_id,
            row.user_id,
            _one_of(row.kind, KINDS),
            _text(row.nick),
            _text(row.face_url),
            _number(row.created_at),
        )


def read_restrictions(row: Row[Any]) -> Restrictions:
    """What is held against a userId."""
    with _reading(f"What is stored against {row.user_id!r} in app {row.sdk_app_id}"):
        return Restrictions(
            None if row.blocked_at is None else _number(row.blocked_at),
            _text(row.reason),
            None if row.invalidated_at is None else _number(row.invalidated_at),
        )


def read_account_type(row: Row[Any]) -> AccountType:
    """An account type from its row."""
    with _reading(f"The stored account type {row.number}"):
        methods = tuple(_one_of(method, METHODS) for method in _list(row.methods))
        return AccountType(_number(row.number), _text(row.name), methods)


def read_token_secret(stored: object, master: MasterKey) -> bytes:
    """The key that signs tickets. Raises ``UnreadableRowError`` or ``SealedError``."""
    if not isinstance(stored, str):
        raise UnreadableRowError(f"The row {TOKEN_SECRET} is missing or damaged.")
    try:
        secret = bytes.fromhex(master.open(stored, TOKEN_SECRET))
    except ValueError:
        secret = b""
    if len(secret) < TOKEN_SECRET_BYTES:
        raise UnreadableRowError(f"The row {TOKEN_SECRET} cannot be read.")
    return secret


def app_values(app: App, master: MasterKey) -> dict[str, Any]:
    """The columns of an app's row, without its keys."""
    limits = {name: getattr(app.limits, name) for name in AppLimits.__slots__}
    return {
        "sdk_app_id": app.sdk_app_id,
        "name": app.name,
        "state": app.state,
        "created_at": app.created_at,
        "account_type": app.account_type,
        "owner": app.owner,
        "admins": json.dumps(app.admins, ensure_ascii=False),
        "registration": app.registration,
        "kinds": json.dumps(app.kinds),
        "advanced_permission": int(app.advanced_permission),
        "limits": json.dumps({name: value for name, value in limits.items() if value is not None}),
        "verification": _stored_verification(app.verification, app.sdk_app_id, master),
    }


def key_place(sdk_app_id: int) -> str:
    """Where an app's secret keys are kept: what their sealed form is bound to."""
    return f"key of app {sdk_app_id}"


def verification_place(sdk_app_id: int) -> str:
    """The same for the secret that signs calls to an app's verification endpoint."""
    return f"endpoint secret of app {sdk_app_id}"


def _verification(stored: object, sdk_app_id: int, master: MasterKey) -> Verification:
    members = _object(stored)
    if members.get("mode") == "endpoint":
        secret = master.open(_text(members["secret"]), verification_place(sdk_app_id))
        return EndpointVerification(_text(members["url"]), secret)
    if members.get("mode") == "oidc":
        return OidcVerification(_text(members["issuer"]), _text(members["audience"]), _text(members["claim"]))
    raise ValueError("its verification has no mode that is known")


def _stored_verification(how: Verification | None, sdk_app_id: int, master: MasterKey) -> str | None:
    match how:
        case EndpointVerification():
            sealed = master.seal(how.secret, verification_place(sdk_app_id))
            return json.dumps({"mode": "endpoint", "url": how.url, "secret": sealed})
        case OidcVerification():
            return json.dumps({"mode": "oidc", "issuer": how.issuer, "audience": how.audience, "claim": how.claim})
    return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is a {type(value).__name__}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a number is a {type(value).__name__}")
    return value


def _one_of(value: object, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        raise ValueError(f"{str(value)[:32]!r} is none of {', '.join(allowed)}")
    return value


def _list(stored: object) -> list[Any]:
    value = json.loads(_text(stored))
    if not isinstance(value, list):
        raise TypeError("a list is a " + type(value).__name__)
    return value


def _object(stored: object) -> dict[str, Any]:
    value = json.loads(_text(stored))
    if not isinstance(value, dict):
        raise TypeError("an object is a " + type(value).__name__)
    return cast(dict[str, Any], value)


@contextmanager
def _reading(subject: str) -> Iterator[None]:
    """Whatever is wrong with a row is said of its ``subject``; what is sealed has sentences of its own."""
    try:
        yield
    except StorageError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        why = "a structure is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UnreadableRowError(f"{subject} cannot be read: {why}.") from None
