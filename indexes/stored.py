"""Values that come from a SQLite file, whose columns may hold anything whatever they are called."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def is_a(kind: type[T], value: object) -> T:
    """The value, which must be of a type; TypeError where it is of another.

    >>> is_a(str, "note-1")
    'note-1'
    """
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


def within(size: int, start: object, end: object) -> tuple[int, int]:
    """A passage's place in a text of `size` characters; TypeError, ValueError where it is none."""
    place = is_a(int, start), is_a(int, end)
    if not 0 <= place[0] <= place[1] <= size:
        raise ValueError(f"a passage at {place} of {size} characters")
    return place


def only_tables(*names: str) -> str:
    """SQL that counts how many of these are tables as such, neither views nor virtual.

    A view is a query of the file's own, which might never end.
    """
    return (
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
        f" AND name IN ({', '.join(map(repr, names))})"
    )
