"""Numbers that texts spell, as CSV files have them: which texts compare as numbers too."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_MAYBE = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?")


def spelt_numbers(texts: Iterable[str]) -> dict[str, int | float]:
    """Those of the texts that spell a number as SQLite would, and the numbers.

    >>> spelt_numbers(["12", "-0.5", "007", "1.0", "1e5", "twelve"])
    {'12': 12, '-0.5': -0.5}
    """
    numbers: dict[str, int | float] = {}
    rest = []
    for text in texts:
        if _WHOLE.fullmatch(text):
            numbers[text] = int(text)
        elif len(text) < 32 and _MAYBE.fullmatch(text):
            rest.append(text)
    if rest:
        connection = sqlite3.connect(":memory:")
        try:
            found = connection.execute(
                "SELECT value, CAST(value AS NUMERIC) FROM json_each(?)"
                " WHERE CAST(CAST(value AS NUMERIC) AS TEXT) = value",
                (json.dumps(rest),),
            )
            numbers.update(found.fetchall())
        finally:
            connection.close()
    return numbers
