"""The statements of the busy paths, put together once.

For a small query SQLAlchemy is busier with building the statement, and with finding it among those it has compiled,
than SQLite with the answer. One that is kept is built and looked up once; only its parameters change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import BindParameter, CursorResult, Executable, Select, Table, bindparam, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage.schema import account_types, accounts, app_keys, apps, meta, restrictions

User = tuple[int, str]
"""sdkAppId and userId."""

Value = TypeVar("Value")

_APP, _APPS, _USERS = "app", "apps", "users"


def padded(values: Sequence[Value]) -> list[Value]:
    """The values for an IN, the last one repeated until there are a power of two of them; empty stays empty.

    Each length is a statement of its own to the database, which keeps a hundred or so prepared on a connection: nine
    lengths for up to 256 values fit in there, 256 do not.
    """
    if not values:
        return []
    missing = (1 << (len(values) - 1).bit_length()) - len(values)
    return [*values, *[values[-1]] * missing]


class OfUsers:
    """A query for rows of a table with ``sdk_app_id`` and ``user_id``, asked for any number of users."""

    def __init__(self, query: Select[Any], table: Table) -> None:
        app, user = table.c.sdk_app_id, table.c.user_id
        self._of_one_app = query.where(app == bindparam(_APP), user.in_(bindparam(_USERS, expanding=True)))
        self._of_several = query.where(tuple_(app, user).in_(bindparam(_USERS, expanding=True)))

    async def rows(self, connection: AsyncConnection, users: Collection[User]) -> CursorResult[Any]:
        """The rows of those users; there has to be one at least."""
        their_apps = {sdk_app_id for sdk_app_id, _ in users}
        rows: CursorResult[Any]
        if len(their_apps) == 1:  # nearly always, and cheaper: a plain IN
            parameters = {_APP: their_apps.pop(), _USERS: padded([user_id for _, user_id in users])}
            rows = await connection.execute(self._of_one_app, parameters)
        else:
            rows = await connection.execute(self._of_several, {_USERS: padded(list(users))})
        return rows


ACCOUNTS = OfUsers(select(accounts), accounts)
RESTRICTIONS = OfUsers(select(restrictions), restrictions)
REGISTERED = OfUsers(select(accounts.c.sdk_app_id, accounts.c.user_id), accounts)

ACCOUNT_TYPES = select(account_types)
TICKET_KEY = select(meta.c.value).where(meta.c.name == bindparam("name"))
"""Takes the ``name`` of the row."""

_AMONG_APPS: BindParameter[int] = bindparam(_APPS, expanding=True)
_APPS_AMONG = select(apps).where(apps.c.sdk_app_id.in_(_AMONG_APPS))
_KEYS_AMONG = select(app_keys).where(app_keys.c.sdk_app_id.in_(_AMONG_APPS)).order_by(app_keys.c.id)


async def apps_among(connection: AsyncConnection, sdk_app_ids: Iterable[int]) -> CursorResult[Any]:
    """The rows of those apps."""
    return await connection.execute(_APPS_AMONG, {_APPS: padded(list(sdk_app_ids))})


async def keys_among(connection: AsyncConnection, sdk_app_ids: Iterable[int]) -> CursorResult[Any]:
    """The keys of those apps, the oldest first."""
    return await connection.execute(_KEYS_AMONG, {_APPS: padded(list(sdk_app_ids))})


def insert_into(dialect: str, table: Table) -> Any:
    """An INSERT that can say what to do on a conflict; SQLAlchemy has one for each kind of database."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@cache
def put_account(dialect: str, *, nick: bool, face_url: bool) -> Executable:
    """Make an account unless it is there; what is given of its profile takes the place of what was."""
    statement = insert_into(dialect, accounts)
    unique = ["sdk_app_id", "user_id"]
    given = {name: statement.excluded[name] for name, there in (("nick", nick), ("face_url", face_url)) if there}
    result: Executable = (
        statement.on_conflict_do_update(index_elements=unique, set_=given)
        if given
        else statement.on_conflict_do_nothing(index_elements=unique)
    )
    return result
