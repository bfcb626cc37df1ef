"""Numbers and truth values that the fields of a table spell."""

from __future__ import annotations

import re
from typing import Any

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,15})")
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,15})\.\d+([eE][-+]?\d{1,2})?")
_WITH_COMMA = re.compile(r"-?(0|[1-9]\d{0,15}|[1-9]\d{0,2}(\.\d{3}){1,4}),\d+")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}\.\d{3}")


def typed(value: str) -> Any:
    """A number or a truth value if the field looks like one.

    >>> [typed(field) for field in ("12", "-0.5", "True", "007", "1e5", "1,5", "")]
    [12, -0.5, True, '007', '1e5', '1,5', '']
    """
    if _INTEGER.fullmatch(value):
        return int(value)
    if _DECIMAL.fullmatch(value):
        return float(value)
    return {"true": True, "false": False}.get(value.lower(), value) if len(value) < 6 else value


def typed_beside_semicolons(value: str) -> Any:
    """The same in a file whose fields are separated by semicolons, mostly because a comma stands
    in its numbers: "1.000" may be a thousand there or one, and stays a text.

    >>> [typed_beside_semicolons(field) for field in ("1,50", "-1.234,5", "1.5", "1.000", "1e5")]
    [1.5, -1234.5, 1.5, '1.000', '1e5']
    """
    if _WITH_COMMA.fullmatch(value):
        return float(value.replace(".", "").replace(",", "."))
    return value if _THOUSANDS.fullmatch(value) else typed(value)
