"""The places where secrets are stored, to seal them for the first time or anew."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage.rows import TOKEN_SECRET, key_place, verification_place
from parlour.storage.schema import app_keys, apps, meta
from parlour.storage.secrets import MasterKey, is_sealed

PLAIN = ""
"""Stands for the key of what is not sealed."""

Change = Callable[[str, str], str | None]
"""What a stored text becomes, given where it is kept; None leaves it."""


async def sealed_with(connection: AsyncConnection) -> Counter[str]:
    """How many secrets are sealed with each master key, by its id; they need not open. Changes nothing."""
    found: Counter[str] = Counter()

    def look(stored: str, _: str) -> None:
        found[_key_id(stored)] += 1

    await _each(connection, look)
    return found


async def seal_what_is_plain(connection: AsyncConnection, master: MasterKey) -> int:
    """Seal secrets that were written before secrets were sealed. Returns how many there were."""
    return await _each(connection, lambda stored, place: None if is_sealed(stored) else master.seal(stored, place))


async def reseal(connection: AsyncConnection, master: MasterKey) -> int:
    """Seal every secret anew with the key that seals now. Returns how many there are; one that does not open raises."""
    return await _each(connection, lambda stored, place: master.seal(master.open(stored, place), place))


async def _each(connection: AsyncConnection, change: Change) -> int:
    keys = select(app_keys).where(app_keys.c.kind == "secret")
    changed = 0
    for row in (await connection.execute(keys)).all():
        changed += await _put(connection, app_keys, app_keys.c.id, row.id, row.value, key_place(row.sdk_app_id), change)
    for row in (await connection.execute(select(meta).where(meta.c.name == TOKEN_SECRET))).all():
        changed += await _put(connection, meta, meta.c.name, row.name, row.value, row.name, change)
    for row in (await connection.execute(select(apps.c.sdk_app_id, apps.c.verification))).all():
        changed += await _endpoint(connection, row.sdk_app_id, row.verification, change)
    return changed


async def _put(
    connection: AsyncConnection,
    table: Table,
    key: Column[Any],
    which: object,
    stored: object,
    place: str,
    change: Change,
) -> int:
    if not isinstance(stored, str):
        return 0  # a damaged row is told when it is read, not when others are sealed
    new = change(stored, place)
    if new is None:
        return 0
    await connection.execute(update(table).where(key == which).values(value=new))
    return 1


async def _endpoint(connection: AsyncConnection, sdk_app_id: int, stored: object, change: Change) -> int:
    try:
        members = json.loads(stored) if isinstance(stored, str) else {}
        secret = members.get("secret")
    except (ValueError, AttributeError):
        return 0
    if not isinstance(secret, str):
        return 0
    new = change(secret, verification_place(sdk_app_id))
    if new is None:
        return 0
    packed = json.dumps(members | {"secret": new})
    await connection.execute(update(apps).where(apps.c.sdk_app_id == sdk_app_id).values(verification=packed))
    return 1


def _key_id(stored: str) -> str:
    parts = stored.split(":")
    return parts[2] if is_sealed(stored) and len(parts) == 4 else PLAIN
