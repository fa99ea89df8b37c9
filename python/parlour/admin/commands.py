"""The commands of the account REST: what each takes, does and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import UNSET

from parlour.accounts import AccountManager
from parlour.accounts.manager import BatchResult, ItemResult
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import wire
from parlour.admin.bodies import JsonObject, Precheck, batch, read_shape, to_account
from parlour.admin.texts import shown
from parlour.errors import ErrorCode, entry_of
from parlour.storage.model import App

Handler = Callable[[AccountManager, App, Any], Awaitable[wire.Answer]]
CommandFunction = TypeVar("CommandFunction", bound=Handler)

_NOT_REGISTERED = "Err_TLS_PT_Open_Login_Account_Not_Exist"
"""What the public account API says in ``ResultInfo`` beside 70107; programs compare it."""


def refusal(code: ErrorCode, detail: str) -> wire.Answer:
    """The answer that refuses a call; without a detail it says the catalogue's cause."""
    # A detail may quote what was sent; half of a surrogate pair cannot be sent back.
    sentence = (detail or cause(code)).encode(errors="backslashreplace").decode()
    return wire.Answer(action_status="FAIL", error_info=sentence, error_code=int(code))


def cause(code: ErrorCode) -> str:
    """The catalogue's cause of a code."""
    entry = entry_of(int(code))
    return code.name if entry is None else entry.cause


@dataclass(frozen=True, slots=True)
class Command:
    """One command: ``service/command`` in its path, the name of its rate, the types of body and answer.

    ``precheck`` looks at the body for what has a code of its own before the types are compared. The examples are for
    the API description.
    """

    name: str
    rate: str
    body: type[wire.Body]
    answer: type[wire.Answer]
    carry_out: Handler
    example: JsonObject
    answer_example: JsonObject
    precheck: Precheck | None = None
    alias_of: str | None = None

    @property
    def typed(self) -> bool:
        """Whether the body may name an account type."""
        return issubclass(self.body, wire.TypedBody)

    def read(self, body: JsonObject) -> wire.Body:
        """The body in its structure. Refuses with the codes of the command's fields."""
        if self.precheck is not None:
            self.precheck(body)
        return read_shape(body, self.body)


_OK: JsonObject = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}
_ANN: JsonObject = {"UserID": "ann"}
_DONE: JsonObject = {"UserID": "ann", "ResultCode": 0, "ResultInfo": ""}
_ABSENT: JsonObject = {"UserID": "bob", "ResultCode": 70107, "ResultInfo": _NOT_REGISTERED}
_ONLINE: JsonObject = {
    "To_Account": "ann",
    "State": "Online",
    "Status": "Online",
    "Detail": [{"Platform": "Web", "Status": "Online"}],
}
_QUERY: JsonObject = {"To_Account": ["ann", "bob"], "IsNeedDetail": 1}
_STATES: JsonObject = {"QueryResult": [_ONLINE], "ErrorList": [{"To_Account": "bob", "ErrorCode": 70107}]}
_APP: JsonObject = {
    "SdkAppId": 1400000001,
    "Name": "Lessons",
    "State": "active",
    "CreatedAt": 1700000000,
    "AccountType": 0,
    "Owner": 1001,
    "Admins": ["administrator"],
    "Registration": "imported",
    "Kinds": ["plain"],
    "AdvancedPermission": False,
    "MaxAccounts": None,
    "LoginsPerSecond": None,
    "RequestsPerSecond": None,
}

COMMANDS: dict[str, Command] = {}
"""Every command by ``service/command``."""


def _command(
    name: str,
    example: JsonObject,
    answer: JsonObject | None = None,
    *,
    rate: str = "",
    precheck: Precheck | None = None,
    alias_of: str | None = None,
) -> Callable[[CommandFunction], CommandFunction]:
    """Make a function a command; the types of its body and its answer are those that it names itself.

    Its rate is called like the command, unless ``rate`` says otherwise; its example answer says no more than OK.
    """

    def add(carry_out: CommandFunction) -> CommandFunction:
        types = get_type_hints(carry_out)
        COMMANDS[name] = Command(
            name,
            rate or name.partition("/")[2],
            types["body"],
            types["return"],
            carry_out,
            example,
            _OK | (answer or {}),
            precheck,
            alias_of,
        )
        return carry_out

    return add


# --- im_open_login_svc ----------------------------------------------------------------------------------------


@_command("im_open_login_svc/account_import", _ANN | {"Nick": "Ann", "FaceUrl": "https://example.com/ann.png"})
async def _account_import(manager: AccountManager, app: App, body: wire.AccountImport) -> wire.Answer:
    await manager.import_account(app, body.user_id, nick=body.nick, face_url=body.face_url)
    return wire.Answer()


@_command(
    "im_open_login_svc/multiaccount_import",
    {"Accounts": ["ann", "bob"]},
    {"FailAccounts": []},
    precheck=batch("Accounts", ErrorCode.REQUEST_BATCH_SIZE_INVALID),
)
async def _multiaccount_import(manager: AccountManager, app: App, body: wire.MultiAccountImport) -> wire.FailedAccounts:
    result = await manager.import_many(app, _once(body.accounts))
    # What the deadline left undone is not imported either: whoever reads FailAccounts knows whom to send again.
    done = {item.user_id for item in result.items if item.code is None}
    failed = [user_id for user_id in body.accounts if user_id not in done]
    return wire.FailedAccounts(**_outcome(result), fail_accounts=failed)


@_command(
    "im_open_login_svc/account_delete",
    {"DeleteItem": [{"UserID": "ann"}, {"UserID": "bob"}]},
    {"ResultItem": [_DONE, _ABSENT]},
    precheck=batch("DeleteItem", ErrorCode.REQUEST_BATCH_SIZE_INVALID),
)
async def _account_delete(manager: AccountManager, app: App, body: wire.AccountDelete) -> wire.ItemResults:
    wanted = [item.user_id for item in body.delete_item]
    result = await manager.delete_many(app, _once(wanted))
    return wire.ItemResults(**_outcome(result), result_item=_item_answers(result, wanted))


@_command(
    "im_open_login_svc/account_check",
    {"CheckItem": [{"UserID": "ann"}]},
    {"ResultItem": [_DONE | {"AccountStatus": "Imported"}]},
    precheck=batch("CheckItem", ErrorCode.REQUEST_BATCH_SIZE_INVALID),
)
async def _account_check(manager: AccountManager, app: App, body: wire.AccountCheck) -> wire.CheckResults:
    wanted = [item.user_id for item in body.check_item]
    result = await manager.check_many(app, _once(wanted))
    items = [
        wire.CheckAnswer(
            user_id=item.user_id,
            result_code=int(item.code or 0),
            result_info=_result_info(item),
            account_status="Imported" if item.registered else "NotImported",
        )
        for item in _in_order(result, wanted)
    ]
    return wire.CheckResults(**_outcome(result), result_item=items)


@_command("im_open_login_svc/kick", _ANN)
async def _kick(manager: AccountManager, app: App, body: wire.OneUser) -> wire.Answer:
    await manager.kick(app, body.user_id)
    return wire.Answer()


# --- openim ---------------------------------------------------------------------------------------------------


@_command(
    "openim/querystate",
    _QUERY,
    _STATES,
    rate="query_online_status",
    precheck=to_account,
    alias_of="openim/query_online_status",
)
@_command("openim/query_online_status", _QUERY, _STATES, precheck=to_account)
async def _query_online_status(manager: AccountManager, app: App, body: wire.OnlineQuery) -> wire.OnlineStates:
    found = {presence.user_id: presence for presence in await manager.online(app, _once(body.to_account))}
    states: list[wire.UserState] = []
    unknown: list[wire.UnknownUser] = []
    for user_id in body.to_account:
        presence = found.get(user_id)
        if presence is None or not presence.known:
            unknown.append(wire.UnknownUser(to_account=user_id, error_code=int(ErrorCode.USERID_NOT_REGISTERED)))
            continue
        detail = [wire.PlatformState(platform=platform) for platform in presence.platforms]
        states.append(
            wire.UserState(
                to_account=user_id,
                state=presence.state,
                status=presence.state,
                detail=detail if body.is_need_detail else UNSET,
            )
        )
    answer = wire.OnlineStates(query_result=states, error_list=unknown)
    if states:
        return answer
    code = ErrorCode.USERID_NOT_REGISTERED
    return msgspec.structs.replace(
        answer,
        action_status="FAIL",
        error_code=int(code),
        error_info="None of the users in To_Account is an account of this app.",
    )


# --- parlour_account ------------------------------------------------------------------------------------------


@_command("parlour_account/register", {"UserID": "ann@example.com", "Kind": "email"}, rate="register_account")
async def _register(manager: AccountManager, app: App, body: wire.Register) -> wire.Answer:
    await manager.register(app, body.user_id, body.kind)
    return wire.Answer()


@_command(
    "parlour_account/multi_register",
    {"Accounts": [{"UserID": "ann", "Kind": "plain"}, {"UserID": "12", "Kind": "phone"}]},
    {"ResultItem": [_DONE, {"UserID": "12", "ResultCode": 70103, "ResultInfo": cause(ErrorCode(70103))}]},
    rate="register_accounts",
    precheck=batch("Accounts", ErrorCode.BATCH_SIZE_INVALID),
)
async def _multi_register(manager: AccountManager, app: App, body: wire.MultiRegister) -> wire.ItemResults:
    kinds: dict[str, str] = {}
    for account in body.accounts:
        if kinds.setdefault(account.user_id, account.kind) != account.kind:
            raise AccountRefusedError(
                ErrorCode.PARAMETER_INVALID, f"Accounts names {shown(account.user_id)} twice, with different kinds."
            )
    result = await manager.register_many(app, list(kinds.items()))
    items = _item_answers(result, [account.user_id for account in body.accounts])
    return wire.ItemResults(**_outcome(result), result_item=items)


@_command("parlour_account/blacklist_add", _ANN | {"Reason": "spam"})
async def _blacklist_add(manager: AccountManager, app: App, body: wire.BlacklistAdd) -> wire.Answer:
    await manager.block(app, body.user_id, body.reason)
    return wire.Answer()


@_command("parlour_account/blacklist_delete", _ANN)
async def _blacklist_delete(manager: AccountManager, app: App, body: wire.OneUser) -> wire.Answer:
    await manager.unblock(app, body.user_id)
    return wire.Answer()


@_command(
    "parlour_account/blacklist_get",
    {"After": "", "Limit": 100},
    {"BlackList": [{"UserID": "ann", "Reason": "spam", "BlockedAt": 1700000000}], "Next": ""},
)
async def _blacklist_get(manager: AccountManager, app: App, body: wire.BlacklistGet) -> wire.Blacklist:
    # One more than the page tells whether another follows.
    found = await manager.blocked(app, after=body.after, limit=body.limit + 1)
    page = [wire.BlockedUser(user_id=user, reason=why, blocked_at=since) for user, why, since in found[: body.limit]]
    return wire.Blacklist(black_list=page, next=page[-1].user_id if len(found) > body.limit else "")


# --- parlour_app ----------------------------------------------------------------------------------------------


@_command("parlour_app/get", {"Uin": 1001}, {"App": _APP}, rate="app_get")
async def _app_get(manager: AccountManager, app: App, body: wire.AppGet) -> wire.AppAnswer:
    await manager.app_of_owner(app, body.uin, write=False)
    return wire.AppAnswer(app=_app_settings(app))


@_command(
    "parlour_app/set",
    {"Uin": 1001, "Name": "Lessons", "Registration": "imported", "Kinds": ["plain"]},
    {"App": _APP},
    rate="app_set",
)
async def _app_set(manager: AccountManager, app: App, body: wire.AppSet) -> wire.AppAnswer:
    await manager.app_of_owner(app, body.uin, write=True)
    members = msgspec.structs.fields(wire.AppChanges)
    values = {member.name: getattr(body, member.name) for member in members}
    changes = {name: value for name, value in values.items() if value is not UNSET}
    if not changes:
        names = ", ".join(member.encode_name for member in members)
        raise AccountRefusedError(ErrorCode.PARAMETER_INVALID, f"The body changes nothing; it may hold {names}.")
    if "kinds" in changes:
        changes["kinds"] = tuple(dict.fromkeys(changes["kinds"]))
    return wire.AppAnswer(app=_app_settings(await manager.change_app(app, **changes)))


def _app_settings(app: App) -> wire.AppSettings:
    return wire.AppSettings(
        sdk_app_id=app.sdk_app_id,
        name=app.name,
        state=app.state,
        created_at=app.created_at,
        account_type=app.account_type,
        owner=app.owner,
        admins=list(app.admins),
        registration=app.registration,
        kinds=list(app.kinds),
        advanced_permission=app.advanced_permission,
        max_accounts=app.limits.max_accounts,
        logins_per_second=app.limits.logins_per_second,
        requests_per_second=app.limits.requests_per_second,
    )


# --- batches --------------------------------------------------------------------------------------------------


def _once(user_ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(user_ids))


def _in_order(result: BatchResult, wanted: list[str]) -> list[ItemResult]:
    """The results in the order of the request, one for every time that a userId was named."""
    found = {item.user_id: item for item in result.items}
    return [found[user_id] for user_id in wanted if user_id in found]


def _item_answers(result: BatchResult, wanted: list[str]) -> list[wire.ItemAnswer]:
    return [
        wire.ItemAnswer(user_id=item.user_id, result_code=int(item.code or 0), result_info=_result_info(item))
        for item in _in_order(result, wanted)
    ]


def _result_info(item: ItemResult) -> str:
    if item.code is None:
        return ""
    return _NOT_REGISTERED if item.code == ErrorCode.USERID_NOT_REGISTERED else cause(item.code)


def _outcome(result: BatchResult) -> dict[str, Any]:
    if result.code is None:
        return {}
    return msgspec.structs.asdict(refusal(result.code, result.detail))


# --- rates ---------------------------------------------------------------------------------------------------

USERSIG_RATE = "usersig"
"""The rate of ``POST /api/v1/usersig``."""

UNKNOWN_RATE = "unknown"
"""The rate of commands that do not exist, which has no bound: their calls count towards the app's."""

RATES = (*sorted({command.rate for command in COMMANDS.values()}), USERSIG_RATE)
"""The names of the rates, as the settings have them; an older name of a command shares that of the newer."""
