"""Bringing a database to the schema of this version."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from parlour.storage.errors import NewerDatabaseError

REVISIONS = ("0001",)
"""Every step of the schema in order; a test compares it with the migration files."""

HEAD = REVISIONS[-1]


def current_revision(connection: Connection) -> str | None:
    """The step the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(connection: Connection, where: Path) -> None:
    """Run the missing steps in the connection's transaction, so that a crash leaves the database as it was."""
    found = current_revision(connection)
    if found == HEAD:
        return
    if found is not None and found not in REVISIONS:
        raise NewerDatabaseError(
            f"The database {where} was written by a newer Parlour (schema {found}, this one knows up to {HEAD}): "
            "update Parlour, or choose another data folder with --data."
        )
    # Alembic is imported only when there is something to do: it costs a third of a second.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "parlour.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
