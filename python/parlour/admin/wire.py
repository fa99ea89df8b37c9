"""Every body and answer of the account REST: the one source of its wire format.

The OpenAPI document is made from this module, see ``openapi.py``. The names of the public commands are those of the
public account API, ours follow its habit: ``UserID``, ``Accounts``, ``ErrorCode``.

What a type can say, msgspec checks. Lengths in bytes are checked by ``__post_init__``, sizes of batches, which have
codes of their own, by ``bodies.py``; both stand in the types for the schema only, as ``extra_json_schema``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from parlour.admin.texts import check_profile_text, check_text, check_user_id
from parlour.protocol.words import MAX_SDK_APP_ID, MAX_USER_ID_BYTES
from parlour.storage.model import Kind, Registration

MAX_BATCH = 100
"""Items of one batch of the public commands, and of multi_register."""

MAX_QUERIED = 500
"""Users of one query_online_status."""

MAX_LISTED = 500
"""Entries of the blacklist in one answer."""


def _text(description: str, most: int, *, least: int = 0) -> Any:
    return Meta(description=description, extra_json_schema={"minLength": least, "maxLength": most})


def _items(description: str, most: int) -> Any:
    return Meta(description=description, extra_json_schema={"minItems": 1, "maxItems": most})


UserIdText = Annotated[
    str,
    _text(f"A userId: 1 to {MAX_USER_ID_BYTES} bytes of UTF-8 without NUL. Case counts.", MAX_USER_ID_BYTES, least=1),
]
ProfileText = Annotated[str, _text("At most 500 bytes of UTF-8.", 500)]
Bound = Annotated[int, Meta(ge=0, le=2**31 - 1, description="0: no bound.")]


class Structure(Struct, rename="pascal", kw_only=True, frozen=True):
    """Base of everything on the wire: names in PascalCase."""


class Body(Structure, frozen=True, kw_only=True):
    """Base of the bodies. Members that a command does not know are ignored."""


class TypedBody(Body, frozen=True, kw_only=True):
    """Base of the bodies that may name the account type they mean; it has to be the app's."""

    account_type: int | str | None = None


class Answer(Structure, frozen=True, kw_only=True):
    """What every answer holds, and all that a refusal holds.

    ``ErrorCode`` is 0 when the call was carried out; else ``ErrorInfo`` is a sentence that says why it was not.
    """

    action_status: Literal["OK", "FAIL"] = "OK"
    error_info: str = ""
    error_code: int = 0


# --- im_open_login_svc ----------------------------------------------------------------------------------------


class AccountImport(TypedBody, frozen=True, kw_only=True):
    """Make an account, unless it is there. A profile field that is given replaces the stored one."""

    user_id: UserIdText = field(name="UserID")
    nick: ProfileText | None = None
    face_url: ProfileText | None = None

    def __post_init__(self) -> None:
        check_user_id(self.user_id)
        check_profile_text("Nick", self.nick)
        check_profile_text("FaceUrl", self.face_url)


class MultiAccountImport(TypedBody, frozen=True, kw_only=True):
    """Make up to 100 accounts, without profiles."""

    accounts: Annotated[list[UserIdText], _items("The userIds.", MAX_BATCH)]

    def __post_init__(self) -> None:
        for user_id in self.accounts:
            check_user_id(user_id)


class NamedUser(Structure, frozen=True, kw_only=True):
    """One user of a batch."""

    user_id: UserIdText = field(name="UserID")

    def __post_init__(self) -> None:
        check_user_id(self.user_id)


class AccountDelete(TypedBody, frozen=True, kw_only=True):
    """Delete up to 100 accounts."""

    delete_item: Annotated[list[NamedUser], _items("Whom to delete.", MAX_BATCH)]


class AccountCheck(TypedBody, frozen=True, kw_only=True):
    """Ask for up to 100 userIds whether they are accounts."""

    check_item: Annotated[list[NamedUser], _items("Whom to ask for.", MAX_BATCH)]


class OneUser(TypedBody, frozen=True, kw_only=True):
    """One user."""

    user_id: UserIdText = field(name="UserID")

    def __post_init__(self) -> None:
        check_user_id(self.user_id)


class ItemAnswer(Structure, frozen=True, kw_only=True):
    """What became of one item: ``ResultCode`` is 0 when it was done."""

    result_code: int
    result_info: str
    user_id: str = field(name="UserID")


class CheckAnswer(ItemAnswer, frozen=True, kw_only=True):
    """Whether one userId is an account."""

    account_status: Literal["Imported", "NotImported"]


class FailedAccounts(Answer, frozen=True, kw_only=True):
    """``FailAccounts`` lists the userIds that were not imported."""

    fail_accounts: list[str] | UnsetType = UNSET


class ItemResults(Answer, frozen=True, kw_only=True):
    """One entry for each item that was got to, in the order of the request."""

    result_item: list[ItemAnswer] | UnsetType = UNSET


class CheckResults(Answer, frozen=True, kw_only=True):
    """One entry for each item that was got to, in the order of the request."""

    result_item: list[CheckAnswer] | UnsetType = UNSET


# --- openim ---------------------------------------------------------------------------------------------------


class OnlineQuery(Body, frozen=True, kw_only=True):
    """Ask for up to 500 users whether they are online."""

    to_account: Annotated[list[UserIdText], _items("The userIds.", MAX_QUERIED)] = field(name="To_Account")
    is_need_detail: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        for user_id in self.to_account:
            check_user_id(user_id)


class PlatformState(Structure, frozen=True, kw_only=True):
    """One platform on which a user is online."""

    platform: str
    status: Literal["Online"] = "Online"


class UserState(Structure, frozen=True, kw_only=True):
    """The state of one user; ``Status`` repeats ``State``, which is spelled both ways in the public documents."""

    to_account: str = field(name="To_Account")
    state: Literal["Online", "Offline"]
    status: Literal["Online", "Offline"]
    detail: list[PlatformState] | UnsetType = UNSET


class UnknownUser(Structure, frozen=True, kw_only=True):
    """A userId that is no account."""

    to_account: str = field(name="To_Account")
    error_code: int


class OnlineStates(Answer, frozen=True, kw_only=True):
    """The states of those who are accounts, and who is none. The call fails only when nobody is one."""

    query_result: list[UserState] | UnsetType = UNSET
    error_list: list[UnknownUser] | UnsetType = UNSET


# --- parlour_account ------------------------------------------------------------------------------------------

KindText = Annotated[str, Meta(description="plain, phone, email or tls.", examples=["email"])]


class Register(TypedBody, frozen=True, kw_only=True):
    """Make an account of a kind; the userId has to have the format of its kind."""

    user_id: UserIdText = field(name="UserID")
    kind: KindText = "plain"

    def __post_init__(self) -> None:
        _check_kind_of_user(self)


class KindOfUser(Structure, frozen=True, kw_only=True):
    """One account of a batch."""

    user_id: UserIdText = field(name="UserID")
    kind: KindText = "plain"

    def __post_init__(self) -> None:
        _check_kind_of_user(self)


def _check_kind_of_user(account: Register | KindOfUser) -> None:
    check_text("Kind", account.kind, most=32)
    if account.kind != "tls":  # whose format, length included, has a code of its own
        check_user_id(account.user_id)


class MultiRegister(TypedBody, frozen=True, kw_only=True):
    """Make up to 100 accounts of kinds."""

    accounts: Annotated[list[KindOfUser], _items("The accounts.", MAX_BATCH)]


class BlacklistAdd(TypedBody, frozen=True, kw_only=True):
    """Keep a userId, registered or not, from logging in."""

    user_id: UserIdText = field(name="UserID")
    reason: Annotated[str, _text("Why, for your own memory; at most 500 bytes.", 500)] = ""

    def __post_init__(self) -> None:
        check_user_id(self.user_id)
        check_text("Reason", self.reason, most=500)


class BlacklistGet(TypedBody, frozen=True, kw_only=True):
    """List the blacklist in the order of userIds, a page a call."""

    after: Annotated[str, _text("The last userId of the page before, or nothing.", MAX_USER_ID_BYTES)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100

    def __post_init__(self) -> None:
        check_text("After", self.after, most=MAX_USER_ID_BYTES)


class BlockedUser(Structure, frozen=True, kw_only=True):
    """One entry of the blacklist; ``BlockedAt`` in unix seconds."""

    user_id: str = field(name="UserID")
    reason: str
    blocked_at: int


class Blacklist(Answer, frozen=True, kw_only=True):
    """One page; ``Next`` is the ``After`` of the page that follows, empty on the last one."""

    black_list: list[BlockedUser] | UnsetType = UNSET
    next: str | UnsetType = UNSET


# --- parlour_app ----------------------------------------------------------------------------------------------

Uin = Annotated[
    Any, Meta(description="The owner's number.", extra_json_schema={"type": ["integer", "string"], "examples": [1001]})
]


class AppGet(Body, frozen=True, kw_only=True):
    """Read the app's settings, as its owner."""

    uin: Uin = None


class AppChanges(Body, frozen=True, kw_only=True):
    """What an owner can change; what is absent stays. A limit that is null falls back to the server's setting."""

    name: Annotated[str, _text("At most 100 bytes of UTF-8.", 100)] | UnsetType = UNSET
    registration: Registration | UnsetType = UNSET
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=4)] | UnsetType = UNSET
    advanced_permission: bool | UnsetType = UNSET
    max_accounts: Bound | UnsetType | None = UNSET
    logins_per_second: Bound | UnsetType | None = UNSET
    requests_per_second: Bound | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.name is not UNSET:
            check_text("Name", self.name, most=100)


class AppSet(AppChanges, frozen=True, kw_only=True):
    """Change the app's settings, as its owner."""

    uin: Uin = None


class AppSettings(Structure, frozen=True, kw_only=True):
    """An app without its keys. ``CreatedAt`` in unix seconds; a limit that is null is the server's setting."""

    sdk_app_id: int
    name: str
    state: str
    created_at: int
    account_type: int | None
    owner: int | None
    admins: list[str]
    registration: str
    kinds: list[str]
    advanced_permission: bool
    max_accounts: int | None
    logins_per_second: int | None
    requests_per_second: int | None


class AppAnswer(Answer, frozen=True, kw_only=True):
    """The app's settings."""

    app: AppSettings | UnsetType = UNSET


# --- /api/v1/usersig ------------------------------------------------------------------------------------------


class UserSigRequest(Struct, rename="camel", kw_only=True, frozen=True):
    """Ask for a UserSig of a user; ``expire`` in seconds."""

    sdk_app_id: Annotated[int, Meta(ge=1, le=MAX_SDK_APP_ID)]
    user_id: UserIdText
    expire: Annotated[int, Meta(ge=1, le=31_536_000)] = 604_800

    def __post_init__(self) -> None:
        check_user_id(self.user_id)


class UserSigIssued(Struct, rename="camel", kw_only=True, frozen=True):
    """A UserSig; ``issuedAt`` and ``expiresAt`` in unix seconds."""

    user_sig: str
    sdk_app_id: int
    user_id: str
    issued_at: int
    expires_at: int

    def __repr__(self) -> str:
        return f"UserSigIssued(sdk_app_id={self.sdk_app_id}, user_id={self.user_id!r}, user_sig=…)"


class ErrorDetail(Struct, kw_only=True, frozen=True):
    """A code of the catalogue with its key, what happened, and what to do next."""

    code: int
    key: str
    message: str
    remedy: str


class UserSigRefusal(Struct, kw_only=True, frozen=True):
    """A refusal."""

    error: ErrorDetail


encode = msgspec.json.Encoder().encode
"""An answer as JSON."""
