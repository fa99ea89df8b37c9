"""Bringing a store's database to the schema of this version, and checking that it has it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, inspect, text

from parlour.storage import schema
from parlour.storage.errors import NewerDatabaseError, UnreadableDatabaseError


@dataclass(frozen=True, slots=True)
class Schema:
    """One store's tables, the steps that lead to them in order, and the table that tells how far a database is."""

    name: str
    title: str
    metadata: MetaData
    revisions: tuple[str, ...]
    version_table: str

    @property
    def head(self) -> str:
        """The newest step."""
        return self.revisions[-1]


ACCOUNTS = Schema("accounts", "account store", schema.metadata, ("0001", "0002"), "alembic_version")
LOGIN_STATE = Schema(
    "login_state", "login-state store", schema.login_metadata, ("0001",), "alembic_version_login_state"
)
COUNTERS = Schema("counters", "counters", schema.counter_metadata, ("0001",), "alembic_version_counters")
SCHEMAS = (ACCOUNTS, LOGIN_STATE, COUNTERS)


def current_revision(connection: Connection, store: Schema) -> str | None:
    """The step the database is at; None for an empty one."""
    if not inspect(connection).has_table(store.version_table):
        return None
    # The name is one of the constants above.
    return connection.execute(text(f"SELECT version_num FROM {store.version_table}")).scalar()  # noqa: S608


def upgrade(connection: Connection, store: Schema, where: str) -> None:
    """Run the missing steps in the connection's transaction, so that a crash leaves the database as it was."""
    found = current_revision(connection, store)
    if found != store.head:
        if found is not None and found not in store.revisions:
            raise NewerDatabaseError(
                f"The {store.title} in {where} was written by a newer Parlour (schema {found}, this one knows up to "
                f"{store.head}): update Parlour, or choose another data folder with --data."
            )
        _run_steps(connection, store)
    check(connection, store, where)


def check(connection: Connection, store: Schema, where: str) -> None:
    """Compare tables and columns with what this version needs. Raises ``UnreadableDatabaseError`` naming the first."""
    found = inspect(connection)
    for table in store.metadata.sorted_tables:
        if not found.has_table(table.name):
            raise UnreadableDatabaseError(f"The {store.title} in {where} is damaged: it has no table {table.name}.")
        there = {column["name"] for column in found.get_columns(table.name)}
        missing = [column.name for column in table.columns if column.name not in there]
        if missing:
            raise UnreadableDatabaseError(
                f"The {store.title} in {where} is damaged: its table {table.name} has no column {missing[0]}."
            )


def _run_steps(connection: Connection, store: Schema) -> None:
    # Alembic is imported only when there is something to do: it costs a third of a second.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "parlour.storage:migrations")
    config.set_main_option("version_locations", f"parlour.storage:migrations/{store.name}")
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, metadata=store.metadata, version_table=store.version_table)
    command.upgrade(config, "head")
