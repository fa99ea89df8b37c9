"""``/v4/{service}/{command}``: the calling convention of the public account API.

Whatever comes is answered with HTTP 200 and ``ActionStatus``, ``ErrorInfo``, ``ErrorCode``. The checks and their order
are those of ``docs/account-rest.md``; the first that fails decides the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from parlour.accounts import AccountManager, Accounts
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import wire
from parlour.admin.bodies import read_object
from parlour.admin.commands import COMMANDS, UNKNOWN_RATE, refusal
from parlour.admin.exchange import BoundedRequest, json_response
from parlour.admin.incidents import record_incident
from parlour.admin.plugins import Call, Plugin, through
from parlour.admin.texts import check_user_id, shown
from parlour.errors import ErrorCode
from parlour.protocol.words import MAX_SDK_APP_ID, MAX_USER_ID_BYTES

SourceOf = Callable[[Scope], str]
"""The address of the client behind a request; whoever trusts proxies knows how to find it."""

HEADERS = (
    # As in the public account API's samples. A page gains nothing: without an administrator's UserSig all is refused.
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"X-Requested-With"),
    (b"access-control-allow-methods", b"POST"),
)

_OPENIM = "openim"
_OPENIM_CODES = {
    ErrorCode.ADMIN_REQUIRED: ErrorCode.OPENIM_ADMIN_REQUIRED,
    ErrorCode.BODY_NOT_JSON: ErrorCode.OPENIM_BODY_INVALID,
}
"""What the service openim says instead."""


def peer_address(scope: Scope) -> str:
    """The address at the other end of the connection, "" when the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def read_app_id(text: str) -> int:
    """The app's number in the URL. Refuses with 60012 when it is missing and 60006 when it is none."""
    if not text:
        raise AccountRefusedError(ErrorCode.SDKAPPID_MISSING, "The URL has no sdkappid; add sdkappid=ID to it.")
    number = int(text) if len(text) <= 10 and text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MAX_SDK_APP_ID:
        raise AccountRefusedError(
            ErrorCode.SDKAPPID_MALFORMED,
            f"The sdkappid {shown(text)} of the URL is not a whole number from 1 to {MAX_SDK_APP_ID}.",
        )
    return number


def is_user_id(text: str) -> bool:
    """Whether a text can be a userId at all."""
    try:
        check_user_id(text)
    except ValueError:
        return False
    return True


class AccountRest:
    """What answers at ``/v4/{path:path}``."""

    def __init__(
        self,
        accounts: Accounts,
        manager: AccountManager,
        plugins: Sequence[Plugin],
        source_of: SourceOf,
    ) -> None:
        self._accounts = accounts
        self._manager = manager
        self._plugins = plugins
        self._source_of = source_of

    async def respond(self, request: BoundedRequest) -> Response:
        """Answer one request. Raises ClientDisconnect when nobody waits for it any more."""
        return json_response(await self._answer(request), more=HEADERS)

    async def _answer(self, request: BoundedRequest) -> wire.Answer:
        if request.method == "OPTIONS":
            return wire.Answer()
        path = str(request.path_params.get("path", ""))
        parameters: Mapping[str, str] = {}
        try:
            service, command = _service_and_command(request.method, path)
            parameters = request.parameters
            call = Call(
                service,
                command,
                parameters.get("sdkappid", ""),
                parameters.get("identifier", ""),
                self._source_of(request.scope),
            )
            user_sig = parameters.get("usersig", "")
            return await through(self._plugins, call, lambda: self._carried_out(call, user_sig, request))
        except AccountRefusedError as refused:
            return refusal(refused.code, refused.detail)
        except ClientDisconnect:
            raise
        except Exception as error:
            incident = record_incident(error, f"/v4/{path}", parameters.get("usersig", ""))
            return refusal(
                ErrorCode.ACCOUNT_REST_FAULT,
                f"Something unexpected went wrong: incident {incident} in the server's log. Try again; if it stays, "
                "give the incident's name to the operator.",
            )

    async def _carried_out(self, call: Call, user_sig: str, request: BoundedRequest) -> wire.Answer:
        try:
            return await self._checked(call, user_sig, request)
        except AccountRefusedError as refused:
            code = _OPENIM_CODES.get(refused.code, refused.code) if call.service == _OPENIM else refused.code
            return refusal(code, refused.detail)

    async def _checked(self, call: Call, user_sig: str, request: BoundedRequest) -> wire.Answer:
        accounts = self._accounts
        named = is_user_id(call.identifier)
        # A text that is no userId goes nowhere near a store, but the app is judged before it.
        caller = await accounts.rest_app(read_app_id(call.sdk_app_id), call.identifier if named else "")
        if not call.identifier:
            raise AccountRefusedError(
                ErrorCode.IDENTIFIER_MISSING, "The URL has no identifier; it names the administrator who calls."
            )
        if not user_sig:
            raise AccountRefusedError(
                ErrorCode.CREDENTIAL_EMPTY, "The URL has no usersig; it carries the administrator's UserSig."
            )
        if not named:
            raise AccountRefusedError(
                ErrorCode.PARAMETER_INVALID,
                f"The identifier {shown(call.identifier)} of the URL is no userId: that is"
                f" 1 to {MAX_USER_ID_BYTES} bytes without NUL.",
            )
        await accounts.prove_admin(caller, user_sig, call.source)
        command = COMMANDS.get(f"{call.service}/{call.command}")
        await accounts.take_request(caller.app, UNKNOWN_RATE if command is None else command.rate)
        if command is None:
            raise _unknown(call.service, call.command)
        body = read_object(await request.bounded_body())
        if command.typed and (account_type := body.get("AccountType")) is not None:
            accounts.check_account_type(caller, account_type)
        return await command.carry_out(self._manager, caller.app, command.read(body))


def _service_and_command(method: str, path: str) -> tuple[str, str]:
    if method != "POST":
        raise AccountRefusedError(ErrorCode.COMMAND_UNKNOWN, f"The method is {method}; this address takes a POST.")
    parts = path.split("/")
    if len(parts) != 2 or not all(parts):
        raise AccountRefusedError(
            ErrorCode.COMMAND_UNKNOWN, f"There is nothing at {shown('/v4/' + path)}; paths are /v4/SERVICE/COMMAND."
        )
    return parts[0], parts[1]


def _unknown(service: str, command: str) -> AccountRefusedError:
    known = [name.partition("/")[2] for name in COMMANDS if name.startswith(f"{service}/")]
    if known:
        return AccountRefusedError(
            ErrorCode.COMMAND_UNKNOWN,
            f"The service {service} has no command {shown(command)}; it has {', '.join(known)}.",
        )
    services = ", ".join(sorted({name.partition("/")[0] for name in COMMANDS}))
    return AccountRefusedError(
        ErrorCode.COMMAND_UNKNOWN, f"There is no service {shown(service)}; the services are {services}."
    )
