"""Whether the values of a dataclass are of the types that it declares."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from indexes.errors import SearchlibError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NAMES = {int: "a whole number", float: "a finite number", str: "a text", NoneType: "None"}


def check_types(
    value: DataclassInstance, error: type[SearchlibError], illegal: str = "illegal {}"
) -> None:
    """Raise `error` where a field has a value of another type, or a number that is not finite.

    `illegal`: how the message begins, {} for the field's name.

    >>> from searchlib.encoders.pruning import Pruning
    >>> Pruning(top_k="3")
    Traceback (most recent call last):
    searchlib.errors.BadInput: illegal top_k value: '3', must be a whole number or None
    """
    for name, hint in _hints(type(value)).items():
        found = getattr(value, name)
        if not _fits(found, hint):
            allowed = " or ".join(_allowed(hint))
            raise error(f"{illegal.format(name)}: {repr(found)[:60]}, must be {allowed}")


@cache
def _hints(kind: type[DataclassInstance]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _allowed(hint: Any) -> list[str]:
    if isinstance(hint, UnionType):
        return [name for part in get_args(hint) for name in _allowed(part)]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [_NAMES.get(hint) or f"a {hint.__name__}"]
