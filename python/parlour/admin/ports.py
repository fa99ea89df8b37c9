"""What the account REST asks of the account system: the part of it that it uses.

Every call may raise ``AccountRefusedError``; the codes named are those that belong to the call, and each may besides
end with a code of the stores. Whatever else is raised counts as a fault of the account REST (70401).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from parlour.accounts.registry import BatchResult, Presence
from parlour.accounts.service import Caller
from parlour.storage.model import App


class AccountService(Protocol):
    """The checks before a command, in the order in which they are called."""

    async def rest_app(self, sdk_app_id: int, identifier: str) -> Caller:
        """The app, for a caller who may still be anybody; ``identifier`` may be "". Codes 70020, 60016, 70204."""

    async def prove_admin(self, caller: Caller, user_sig: str, source: str) -> None:
        """Check the credential, then the right. Codes 70019 when it is empty, those of a login, 70403."""

    async def take_request(self, app: App, command: str) -> None:
        """Count one call, by the name of its rate in the settings. Codes 60007, 60011, 70231."""

    def check_account_type(self, caller: Caller, value: object) -> None:
        """Compare the request's account type, whatever JSON value it is, with the app's. Codes 70145, 70140."""


class Registry(Protocol):
    """The accounts of an app. UserIds are texts of 1 to 32 bytes, and no batch names one twice."""

    async def import_account(self, app: App, user_id: str, *, nick: str | None, face_url: str | None) -> None:
        """Make the account unless it is there; a profile field that is None stays as it is. Code 70398."""

    async def import_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Make accounts without a profile. A batch with a code ended early: its items are those that were got to."""

    async def delete_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Delete accounts; an unknown one has code 70107."""

    async def check_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Say which accounts are there."""

    async def kick(self, app: App, user_id: str) -> None:
        """Make every UserSig of the user up to now invalid, and end the user's logins. Code 70107."""

    async def online(self, app: App, user_ids: Sequence[str]) -> Sequence[Presence]:
        """The login state of users, in any order."""

    async def register(self, app: App, user_id: str, kind: str) -> None:
        """Make an account of a kind. Codes 70102 to 70106. For kind ``tls`` the userId may be any text: 70105."""

    async def register_many(self, app: App, accounts: Sequence[tuple[str, str]]) -> BatchResult:
        """Make accounts of kinds, given as pairs of userId and kind; items have the codes of ``register``."""

    async def block(self, app: App, user_id: str, reason: str) -> None:
        """Put a userId, registered or not, on the app's blacklist."""

    async def unblock(self, app: App, user_id: str) -> None:
        """Take a userId off the blacklist; it need not be on it."""

    async def blocked(self, app: App, *, after: str, limit: int) -> Sequence[tuple[str, str, int]]:
        """The blacklist in the order of userIds, from behind ``after``: userId, reason, since when (unix seconds)."""

    async def app_of_owner(self, app: App, uin: object, *, write: bool) -> None:
        """Compare the operator's number, whatever JSON value it is, with the app's owner.

        Codes 70211 (no such number), 70209 (nobody owns the app), 70115 (another's, reading), 70210 (writing).
        """

    async def change_app(self, app: App, **changes: Any) -> App:
        """Change what ``AppChanges`` names and return the app as it is then."""

    async def issue_user_sig(self, app: App, user_id: str, expire: int) -> tuple[str, int, int]:
        """A UserSig with the times it is signed and expires at (unix seconds). Code 70015 without a secret key."""
