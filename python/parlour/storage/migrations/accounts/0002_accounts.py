"""What apps are set up with, account types, accounts, and what is held against a userId."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ALL_METHODS = '["hmac","ecdsa","third-party"]'


def upgrade() -> None:
    """Apps that are there become apps of account type 0, as version 1 of the UserSig has it by default."""
    types = op.create_table(
        "account_types",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("methods", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_account_types"),
    )
    op.bulk_insert(types, [{"number": 0, "name": "default", "methods": ALL_METHODS}])
    for column in (
        sa.Column("account_type", sa.Integer),
        sa.Column("owner", sa.BigInteger),
        sa.Column("admins", sa.Text, nullable=False, server_default='["administrator"]'),
        sa.Column("registration", sa.String(16), nullable=False, server_default="automatic"),
        sa.Column("kinds", sa.Text, nullable=False, server_default='["plain","phone","email","tls"]'),
        sa.Column("advanced_permission", sa.Integer, nullable=False, server_default="0"),
        sa.Column("limits", sa.Text, nullable=False, server_default="{}"),
        sa.Column("verification", sa.Text),
    ):
        op.add_column("apps", column)
    op.execute("UPDATE apps SET account_type = 0")
    for table, columns in {
        "accounts": (
            sa.Column("kind", sa.String(8), nullable=False),
            sa.Column("nick", sa.Text, nullable=False),
            sa.Column("face_url", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
        ),
        "standings": (
            sa.Column("blocked_at", sa.BigInteger),
            sa.Column("reason", sa.Text, nullable=False, server_default=""),
            sa.Column("invalidated_at", sa.BigInteger),
        ),
    }.items():
        op.create_table(
            table,
            sa.Column("sdk_app_id", sa.BigInteger, nullable=False),
            sa.Column("user_id", sa.Text, nullable=False),
            *columns,
            sa.PrimaryKeyConstraint("sdk_app_id", "user_id", name=f"pk_{table}"),
            sa.ForeignKeyConstraint(
                ["sdk_app_id"], ["apps.sdk_app_id"], name=f"fk_{table}_sdk_app_id", ondelete="CASCADE"
            ),
        )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("standings")
    op.drop_table("accounts")
    with op.batch_alter_table("apps") as table:
        for column in (
            "verification",
            "limits",
            "advanced_permission",
            "kinds",
            "registration",
            "admins",
            "owner",
            "account_type",
        ):
            table.drop_column(column)
    op.drop_table("account_types")
