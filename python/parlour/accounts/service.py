"""The account service: who may log in, enter, come back, and administer; each check in its documented order.

The order is that of docs/usersig.md. Nothing is remembered between two calls but what stands in the stores, so that a
change made by anybody, in whatever process, is seen by the next check.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from parlour.accounts import plugins
from parlour.accounts.faults import account_store, account_store_refusal, counters_store, guarded, login_state_store
from parlour.accounts.identity import AcceptedLogin, Identity
from parlour.accounts.login_checks import (
    LoginCandidate,
    Proof,
    check_requested_type,
    lookup_name,
    pass_checks,
    prove_by_usersig,
    readable,
    why_void,
)
from parlour.accounts.presence import PresenceTracker
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.sources import counted_source
from parlour.accounts.tokens import TICKET_LIFETIME, TokenSigner, said_by
from parlour.accounts.verification import CredentialJudge
from parlour.errors import ErrorCode
from parlour.protocol.words import MAX_SDK_APP_ID
from parlour.storage import (
    App,
    Counters,
    LoggedIn,
    LoginContext,
    LoginStates,
    NewAccount,
    Storage,
    StorageError,
    Take,
)
from parlour.storage.model import bound
from parlour.usersig import (
    Envelope,
    Privilege,
    UserSigError,
    open_envelope,
    verify_private_map_key,
)

ALL_PRIVILEGES = Privilege(255)


@dataclass(frozen=True, slots=True)
class AccountRules:
    """Bounds that hold where an app has none of its own; 0 means no bound. ``requests``: by command of the REST."""

    logins_per_second: int = 200
    max_accounts: int = 0
    requests_per_second: int = 1000
    command_rates: tuple[tuple[str, int], ...] = ()
    ticket_lifetime: float = TICKET_LIFETIME
    verifier_timeout: float = plugins.VERIFIER_TIMEOUT


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What a client sent to log in, whatever that is, and where from."""

    sdk_app_id: object
    user_id: object
    user_sig: object = field(default=None, repr=False)
    account_type: object = None
    source: str = "unknown"
    platform: str = "Web"


@dataclass(frozen=True, slots=True)
class Granted:
    """A login that succeeded; ``ticket_expires_at`` in unix seconds."""

    login: AcceptedLogin
    ticket: str = field(repr=False)
    ticket_expires_at: int


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who may enter rooms, and the signer for the resume token. ``admit`` tells what is allowed in a room."""

    login: AcceptedLogin
    signer: TokenSigner
    app: App
    now: float

    def admit(self, room: int | str, *, room_exists: bool, private_map_key: str) -> Privilege:
        """The user's rights in a room; -10018 or -10019 where the app asks for a ticket for each room."""
        if not self.app.advanced_permission:
            return ALL_PRIVILEGES
        try:
            return verify_private_map_key(
                private_map_key,
                sdk_app_id=self.app.sdk_app_id,
                user_id=self.login.identity.user_id,
                room=room,
                room_exists=room_exists,
                keys=self.app.keys,
                now=int(self.now),
            )
        except UserSigError as error:
            raise AccountRefusedError(error.code, error.detail) from None


@dataclass(frozen=True, slots=True)
class Returning:
    """A genuine resume token of a login that nobody voided. ``login_stands``: the login-state store still has it.

    It has not after a start of the server, nor when the login was ended.
    """

    session_id: str
    room: str
    entrant: Entrant
    login_stands: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the account REST, before anything is proven."""

    app: App
    identifier: str
    context: LoginContext


class Accounts:
    """The account service of one server. ``clock`` gives unix seconds; ``node`` is its name in the login states."""

    def __init__(
        self,
        storage: Storage,
        login_states: LoginStates,
        counters: Counters,
        clock: Callable[[], float],
        *,
        rules: AccountRules,
        judge: CredentialJudge,
        presence: PresenceTracker,
        verifiers: Sequence[plugins.Verifier] = (),
        node: str = "local",
    ) -> None:
        self._storage = storage
        self._login_states = login_states
        self._counters = counters
        self._clock = clock
        self._rules = rules
        self._rates = dict(rules.command_rates)
        self._judge = judge
        self.presence = presence
        self._verifiers = tuple(plugins.BoundedVerifier(verifier, rules.verifier_timeout) for verifier in verifiers)
        self._node = node

    # --- login ---

    @guarded
    async def login(self, request: LoginRequest) -> Granted:
        """Check a login; the first check that fails is the ``AccountRefusedError``."""
        now = self._clock()
        app, context = await self._app_of(request.sdk_app_id, request.user_id, unknown=ErrorCode.SDKAPPID_UNKNOWN)
        candidate = LoginCandidate(
            app,
            context,
            request.user_id,
            request.user_sig,
            _opened(request.user_sig, app),
            now,
            self._prove,
            account_type=request.account_type,
            source=counted_source(request.source),
            counters=self._counters,
            most_logins=bound(app.limits.logins_per_second, self._rules.logins_per_second),
        )
        proof = await pass_checks(candidate)
        user_id = candidate.user_id
        if self._verifiers:
            applicant = plugins.Applicant(app.sdk_app_id, user_id, str(request.user_sig), request.source)
            for verifier in self._verifiers:
                await verifier.ask(applicant, candidate.source)
        signer = self._signer(context)
        if context.account is None:
            await self._register(app, user_id, now)
        login = AcceptedLogin(
            Identity(app.sdk_app_id, user_id), secrets.token_hex(16), proof.issued_at, proof.expires_at, proof.key
        )
        with login_state_store():
            await self._login_states.note(
                LoggedIn(login.login_id, app.sdk_app_id, user_id, self._node, request.platform, int(now))
            )
        return Granted(login, *signer.issue_ticket(login, now))

    @guarded
    async def enter(self, login: AcceptedLogin | None, ticket: str) -> Entrant:
        """Whether a login may still enter rooms. Refuses with a room code where the room service would."""
        if login is None:
            raise AccountRefusedError(ErrorCode.TICKET_INVALID, "this socket has not logged in")
        now = self._clock()
        context = await self._contexts(login.identity.sdk_app_id, login.identity.user_id)
        signer = self._signer(context)
        if signer.read_ticket(ticket, now) != login:
            raise AccountRefusedError(
                ErrorCode.TICKET_INVALID, "the ticket belongs to another login than this socket's"
            )
        return self._entrant(login, context, signer, now)

    @guarded
    async def reconsider(self, login: AcceptedLogin) -> Entrant:
        """What ``enter`` would say now of somebody who is in a room, but for the ticket and an expiry since."""
        now = self._clock()
        context = await self._contexts(login.identity.sdk_app_id, login.identity.user_id)
        return self._entrant(login, context, self._signer(context), now, expires=False)

    def _entrant(
        self, login: AcceptedLogin, context: LoginContext, signer: TokenSigner, now: float, *, expires: bool = True
    ) -> Entrant:
        app = readable(context.app)
        if app is None:
            raise AccountRefusedError(
                ErrorCode.APP_NOT_ENABLED, f"there is no app {login.identity.sdk_app_id} any more"
            )
        if app.state == "suspended":
            raise AccountRefusedError(ErrorCode.SERVICE_SUSPENDED, f"app {app.sdk_app_id} is suspended")
        if app.state == "disabled":
            raise AccountRefusedError(ErrorCode.APP_NOT_ENABLED, f"app {app.sdk_app_id} was never enabled")
        void = why_void(login, context, app, int(now) if expires else 0)
        if void:
            raise AccountRefusedError(ErrorCode.ROOM_USERSIG_FAILED, f"the UserSig became invalid after login: {void}")
        return Entrant(login, signer, app, now)

    @guarded
    async def resume(self, token: str) -> Returning:
        """What a resume token is for. Refuses a token that is not ours, and a login that was voided."""
        now = self._clock()
        said = said_by(token)
        if said is None or not _is_app_id(said.sdk_app_id):
            raise AccountRefusedError(ErrorCode.RESUME_TOKEN_TAMPERED, "the resume token is not one of this server")
        context = await self._contexts(said.sdk_app_id, lookup_name(said.user_id))
        signer = self._signer(context)
        session_id, room, login = signer.read_resume(token, now)
        app = readable(context.app)
        if app is None or app.state != "active":
            raise _state_invalid("the app is not active")
        void = why_void(login, context, app, 0)  # an expiry ends no session
        if void:
            raise _state_invalid(void)
        with login_state_store():
            stands = await self.presence.back(login)
        return Returning(session_id, room, Entrant(login, signer, app, now), stands)

    # --- the account REST ---

    @guarded
    async def rest_app(self, sdk_app_id: int, identifier: str) -> Caller:
        """The app that a call is about: 70020 if there is none, 60016 if it is not active."""
        app, context = await self._app_of(sdk_app_id, identifier, unknown=ErrorCode.SDKAPPID_NOT_FOUND)
        if app.state != "active":
            raise AccountRefusedError(ErrorCode.APP_DISABLED, f"app {app.sdk_app_id} is {app.state}")
        return Caller(app, identifier, context)

    @guarded
    async def prove_admin(self, caller: Caller, user_sig: str, source: str) -> None:
        """That the caller is who it says (the checks of a login), and an admin of the app (70403)."""
        app, context, now = caller.app, caller.context, self._clock()
        if not user_sig:
            raise AccountRefusedError(ErrorCode.CREDENTIAL_EMPTY, "the parameter usersig is missing or empty")
        candidate = LoginCandidate(
            app,
            context,
            caller.identifier,
            user_sig,
            open_envelope(user_sig),
            now,
            prove_by_usersig,
            source=counted_source(source),
            counters=self._counters,
        )
        await pass_checks(candidate)
        if candidate.user_id not in app.admins:
            raise AccountRefusedError(
                ErrorCode.ADMIN_REQUIRED, f"{candidate.user_id} is not among the admins of app {app.sdk_app_id}"
            )

    async def take_request(self, app: App, command: str) -> None:
        """Count a call against the rates of its command (60007) and of its app (60011)."""
        now = self._clock()
        rates = (
            (f"rest {app.sdk_app_id} {command}", self._rates.get(command, 0), ErrorCode.COMMAND_RATE_EXCEEDED, command),
            (
                f"rest {app.sdk_app_id}",
                bound(app.limits.requests_per_second, self._rules.requests_per_second),
                ErrorCode.APP_RATE_EXCEEDED,
                f"app {app.sdk_app_id}",
            ),
        )
        for name, limit, code, what in rates:
            if limit > 0:
                with counters_store():
                    good = await self._counters.take(Take(name, now, limit))
                if not good:
                    raise AccountRefusedError(code, f"{what} is called more than {limit} times a second")

    def check_account_type(self, caller: Caller, value: object) -> None:
        """The AccountType of a request: 70145 unless it is a known number, 70140 unless it is the app's."""
        check_requested_type(caller.context, caller.app, value)

    # --- steps ---

    async def _contexts(self, sdk_app_id: int, user_id: str) -> LoginContext:
        with account_store():
            return await self._storage.accounts.login_context(sdk_app_id, user_id)

    async def _app_of(self, sdk_app_id: object, user_id: object, *, unknown: ErrorCode) -> tuple[App, LoginContext]:
        """Step 1: the app."""
        if not _is_app_id(sdk_app_id):
            raise AccountRefusedError(unknown, f"sdkAppId is not a number from 1 to {MAX_SDK_APP_ID}")
        context = await self._contexts(sdk_app_id, lookup_name(user_id))
        app = readable(context.app)
        if app is None:
            raise AccountRefusedError(unknown, f"this server has no app {sdk_app_id}")
        return app, context

    async def _prove(self, candidate: LoginCandidate, credential: str) -> Proof:
        """Steps 3 to 8, by UserSig or by the third party that the app named."""
        app = candidate.app
        if app.verification is None:
            return await prove_by_usersig(candidate, credential)
        account_type = readable(candidate.context.account_type)
        if account_type is not None and "third-party" not in account_type.methods:
            raise AccountRefusedError(
                ErrorCode.VERIFICATION_METHOD_MISSING,
                f"account type {account_type.number} does not take third-party verification",
            )
        if not credential:
            raise AccountRefusedError(
                ErrorCode.CREDENTIAL_EMPTY,
                "userSig is empty; this app's credentials are judged by a third party",
                wrong_credential=True,
            )
        await self._judge.judge(
            app.sdk_app_id, candidate.user_id, credential, app.verification, source=candidate.source
        )
        return Proof(int(candidate.now))

    async def _register(self, app: App, user_id: str, now: float) -> None:
        """A first login makes the account."""
        most = bound(app.limits.max_accounts, self._rules.max_accounts)
        with account_store():
            await self._storage.accounts.put(NewAccount(app.sdk_app_id, user_id, "plain", int(now), most=most))

    def _signer(self, context: LoginContext) -> TokenSigner:
        if isinstance(context.ticket_key, StorageError):
            account_store_refusal(context.ticket_key)
            raise AccountRefusedError(ErrorCode.TICKET_KEY_MISSING, "the key that signs tickets is not available")
        return TokenSigner(context.ticket_key, ticket_lifetime=self._rules.ticket_lifetime)


def _opened(user_sig: object, app: App) -> Envelope | None:
    """The UserSig as far as it opens; None for what is no UserSig: no text, or a third party's credential."""
    return open_envelope(user_sig) if isinstance(user_sig, str) and user_sig and app.verification is None else None


def _is_app_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SDK_APP_ID


def _state_invalid(why: str) -> AccountRefusedError:
    return AccountRefusedError(ErrorCode.LOGIN_STATE_INVALID, f"{why}: log in again")
