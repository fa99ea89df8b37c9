"""What the stores hold, as the rest of the server sees it. Times in unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from parlour.usersig import AppKeys

AppState = Literal["active", "suspended", "disabled"]
"""``suspended`` by the operator for now; ``disabled`` was never enabled."""

Registration = Literal["automatic", "imported"]
"""Whether a first login makes the account, or only accounts made before may log in."""

Kind = Literal["plain", "phone", "email", "tls"]
"""What a userId is: a free text, or one whose format is checked when it is registered."""

Method = Literal["hmac", "ecdsa", "third-party"]
"""A way of verifying a login: UserSig version 2, version 1, or somebody else's judgement."""

APP_STATES: tuple[AppState, ...] = get_args(AppState)
REGISTRATIONS: tuple[Registration, ...] = get_args(Registration)
KINDS: tuple[Kind, ...] = get_args(Kind)
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_ADMIN = "administrator"
DEFAULT_ACCOUNT_TYPE = 0


@dataclass(frozen=True, slots=True)
class AppLimits:
    """Bounds of one app; None takes the server's setting, 0 means no bound."""

    max_accounts: int | None = None
    logins_per_second: int | None = None
    requests_per_second: int | None = None


def bound(own: int | None, general: int) -> int:
    """The bound that holds for an app: its own, else the server's."""
    return general if own is None else own


@dataclass(frozen=True, slots=True)
class EndpointVerification:
    """An https endpoint that judges credentials; calls to it are signed with ``secret``."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OidcVerification:
    """An OpenID Connect issuer whose ID tokens for ``audience`` log in the user that ``claim`` names."""

    issuer: str
    audience: str
    claim: str = "sub"


Verification = EndpointVerification | OidcVerification


@dataclass(frozen=True, slots=True)
class App:
    """One app. ``account_type`` None: it has none (70204); ``owner`` None: nobody owns it (70209)."""

    sdk_app_id: int
    name: str
    state: AppState
    created_at: int
    keys: AppKeys
    account_type: int | None = DEFAULT_ACCOUNT_TYPE
    owner: int | None = None
    admins: tuple[str, ...] = (DEFAULT_ADMIN,)
    registration: Registration = "automatic"
    kinds: tuple[Kind, ...] = KINDS
    advanced_permission: bool = False
    limits: AppLimits = AppLimits()
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key of an app with the number by which it is removed; ``value`` is the secret or the PEM text."""

    id: int
    kind: Literal["secret", "public"]
    value: str = field(repr=False)
    created_at: int


@dataclass(frozen=True, slots=True)
class AccountType:
    """A kind of integration that apps are set up under, and the methods by which its users may log in."""

    number: int
    name: str
    methods: tuple[Method, ...] = METHODS


@dataclass(frozen=True, slots=True)
class Account:
    """A registered user of an app."""

    sdk_app_id: int
    user_id: str
    kind: Kind
    nick: str
    face_url: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What is held against a userId, registered or not: it survives the deletion of the account."""

    blocked_at: int | None = None
    reason: str = ""
    invalidated_at: int | None = None
