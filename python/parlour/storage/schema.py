"""The tables of the three stores, as their newest migrations leave them. Times are unix seconds.

Lists and small structures are kept as JSON texts, so that both databases hold and damage them alike.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

# --- the account store ----------------------------------------------------------------------------------------------

metadata = MetaData(naming_convention=NAMING)

account_types = Table(
    "account_types",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("methods", Text, nullable=False),  # JSON list of "hmac", "ecdsa", "third-party"
)

apps = Table(
    "apps",
    metadata,
    Column("sdk_app_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("account_type", Integer),
    Column("owner", BigInteger),
    Column("admins", Text, nullable=False, server_default='["administrator"]'),  # JSON list of userIds
    Column("registration", String(16), nullable=False, server_default="automatic"),
    Column("kinds", Text, nullable=False, server_default='["plain","phone","email","tls"]'),  # JSON list
    Column("advanced_permission", Integer, nullable=False, server_default="0"),
    Column("limits", Text, nullable=False, server_default="{}"),  # JSON object
    Column("verification", Text),  # JSON object; an endpoint's secret in it is sealed
)

app_keys = Table(
    "app_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sdk_app_id", BigInteger, ForeignKey("apps.sdk_app_id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # "secret" (HMAC, sealed) or "public" (EC, PEM)
    Column("value", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("ix_app_keys_sdk_app_id", app_keys.c.sdk_app_id)

accounts = Table(
    "accounts",
    metadata,
    Column("sdk_app_id", BigInteger, ForeignKey("apps.sdk_app_id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("nick", Text, nullable=False),
    Column("face_url", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# What is held against a userId. Not a part of the account: it outlives its deletion, and a userId can be blocked
# before it ever logs in.
restrictions = Table(
    "standings",
    metadata,
    Column("sdk_app_id", BigInteger, ForeignKey("apps.sdk_app_id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("blocked_at", BigInteger),
    Column("reason", Text, nullable=False, server_default=""),
    Column("invalidated_at", BigInteger),  # UserSigs issued up to here are void
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# --- the login-state store ------------------------------------------------------------------------------------------

login_metadata = MetaData(naming_convention=NAMING)

logins = Table(
    "logins",
    login_metadata,
    Column("login_id", String(32), primary_key=True),
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("node", String(64), nullable=False),
    Column("platform", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("online_until", BigInteger),  # set when the socket was lost: online until then unless it comes back
)
Index("ix_logins_sdk_app_id", logins.c.sdk_app_id, logins.c.user_id)

# --- the counters ---------------------------------------------------------------------------------------------------

counter_metadata = MetaData(naming_convention=NAMING)

failures = Table(
    "failures",
    counter_metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sdk_app_id", BigInteger, nullable=False),
    Column("source", String(64), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("at", Float(53), nullable=False),
)
Index("ix_failures_sdk_app_id", failures.c.sdk_app_id, failures.c.source, failures.c.user_id, failures.c.at)
Index("ix_failures_at", failures.c.at)

locks = Table(
    "locks",
    counter_metadata,
    Column("sdk_app_id", BigInteger, primary_key=True, autoincrement=False),
    Column("source", String(64), primary_key=True),
    Column("user_id", Text, primary_key=True),  # empty: the source is locked for every user
    Column("until", Float(53), nullable=False),
)

windows = Table(
    "windows",
    counter_metadata,
    Column("name", String(96), primary_key=True),  # what is counted
    Column("second", BigInteger, primary_key=True, autoincrement=False),
    Column("taken", Integer, nullable=False),
)
