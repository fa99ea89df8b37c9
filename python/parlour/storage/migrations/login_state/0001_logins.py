"""Who is logged in, and where."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "logins",
        sa.Column("login_id", sa.String(32), nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("platform", sa.String(16), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("online_until", sa.BigInteger),
        sa.PrimaryKeyConstraint("login_id", name="pk_logins"),
    )
    op.create_index("ix_logins_sdk_app_id", "logins", ["sdk_app_id", "user_id"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("logins")
