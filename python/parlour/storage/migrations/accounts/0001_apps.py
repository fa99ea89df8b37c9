"""Apps, their keys, and what the server itself remembers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "apps",
        sa.Column("sdk_app_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sdk_app_id", name="pk_apps"),
    )
    op.create_table(
        "app_keys",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_app_keys"),
        sa.ForeignKeyConstraint(["sdk_app_id"], ["apps.sdk_app_id"], name="fk_app_keys_sdk_app_id", ondelete="CASCADE"),
    )
    op.create_index("ix_app_keys_sdk_app_id", "app_keys", ["sdk_app_id"])
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("meta")
    op.drop_table("app_keys")
    op.drop_table("apps")
