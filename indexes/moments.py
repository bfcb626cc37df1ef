"""Dates and times as texts that are in order as the moments are: what comparing texts rests on.

ISO 8601 has many texts for one moment. Here each has one: in UTC, without a zone, and without
what is zero at its end, so that `<` of texts is `<` of moments. A time without a zone is UTC; a
day is its first moment. A month or a year, which is no moment, comes before its first day.
"""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime, timedelta
from functools import cache
from typing import Any

_TIME = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)


@cache
def _time() -> re.Pattern[str]:  # compiled when it is asked for first: most queries don't
    return re.compile(_TIME)


def moment(text: str) -> str | None:
    """The one text of the moment that an ISO 8601 day with a time names; None for another text.

    >>> moment("2024-05-01T12:30:00+02:00"), moment("2024-05-01 10:30"), moment("2024-05-01T00Z")
    ('2024-05-01T10:30', '2024-05-01T10:30', None)
    """
    found = _time().fullmatch(text)
    if found is None:
        return None
    day, time, seconds, fraction, sign, hours, minutes = found.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{time}{seconds or ''}")
        if sign is not None:
            ahead = 60 * int(hours) + int(minutes or 0)
            if ahead >= 24 * 60:
                return None
            local += timedelta(minutes=ahead if sign == "-" else -ahead)
    except (ValueError, OverflowError):  # there is no such day or time
        return None
    whole, rest = local.isoformat(), (fraction or "").rstrip("0")
    if rest:
        return f"{whole}.{rest}"
    return whole.removesuffix(":00").removesuffix("T00:00")


def comparable(text: str) -> str:
    """What a text is compared by: the moment that it names, or else the text itself.

    >>> sorted(["b", "2024-05-01T01:00+02:00", "2024-05-01", "2024-04"], key=comparable)
    ['2024-04', '2024-05-01T01:00+02:00', '2024-05-01', 'b']
    """
    return moment(text) or text


def with_moments(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, on which the conditions of `filter_sql` can be asked."""

    def compared(value: Any) -> Any:
        return comparable(value) if isinstance(value, str) else value

    connection.create_function("comparable", 1, compared, deterministic=True)
    return connection
