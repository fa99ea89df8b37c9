"""The date text of the oldest UserSig form, without a clock or a time zone of ours."""

from __future__ import annotations

import calendar
import re

_OLD_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})-08:00")


def parse_old_date(text: str) -> int | None:
    """Unix seconds of ``2015-04-13T11:43:04-08:00``, its offset read as ISO 8601 has it (our reading), or None."""
    match = _OLD_DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    if year < 1970 or not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    return calendar.timegm((year, month, day, hour, minute, second)) + 8 * 3600
