"""What lock-out and rate limits count."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
    )
    op.create_index("ix_failures_sdk_app_id", "failures", ["sdk_app_id", "source", "user_id", "at"])
    op.create_index("ix_failures_at", "failures", ["at"])
    op.create_table(
        "locks",
        sa.Column("sdk_app_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("sdk_app_id", "source", "user_id", name="pk_locks"),
    )
    op.create_table(
        "windows",
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("second", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", "second", name="pk_windows"),
    )


def downgrade() -> None:
    """Take them away again."""
    for table in ("windows", "locks", "failures"):
        op.drop_table(table)
