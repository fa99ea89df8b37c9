"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

apps = Table(
    "apps",
    metadata,
    Column("sdk_app_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),  # unix seconds
)

app_keys = Table(
    "app_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sdk_app_id", BigInteger, ForeignKey("apps.sdk_app_id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # "secret" (HMAC) or "public" (EC, PEM)
    Column("value", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("ix_app_keys_sdk_app_id", app_keys.c.sdk_app_id)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
