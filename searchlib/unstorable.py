"""What of a document's metadata cannot be stored, said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from indexes.metadata import MAX_DEPTH

from .errors import cut, shown


def first_problem(metadata: dict[Any, Any]) -> str:
    """The first value that JSON cannot hold: where, what it is, and what to write; else "".

    >>> first_problem({"by": [{"age": float("inf")}]})
    "'by[0].age' is inf; write None, or leave it out"
    """
    return next(_problems(metadata, "", 0), "")


def _problems(value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict | list | tuple):
        if value and depth == MAX_DEPTH:
            yield f"{cut(path)!r} is nested more than {MAX_DEPTH} levels deep"
            return
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in members:
            if not isinstance(value, dict):
                yield from _problems(member, f"{path}[{key}]", depth + 1)
            elif isinstance(key, str):
                yield from _problems(member, f"{path}.{key}" if path else key, depth + 1)
            else:
                where = f" of {cut(path)!r}" if path else ""
                yield f"the key {shown(key)}{where} is of type {_kind(key)}; write a text"
    elif isinstance(value, float):
        if not float("-inf") < value < float("inf"):
            yield f"{cut(path)!r} is {float(value)}; write None, or leave it out"
    elif value is not None and not isinstance(value, str | int):
        yield f"{cut(path)!r} is of type {_kind(value)}, {shown(value)}; {_instead(value)}"


def _instead(value: object) -> str:
    if hasattr(value, "isoformat"):  # dates and times, whoever made them
        return f'write it as a text, "{value.isoformat()}"'
    if hasattr(value, "tolist"):  # numpy's, which is not imported for that
        return "write value.tolist()"
    if isinstance(value, Mapping):
        return "write dict(value)"
    if isinstance(value, Set):
        return "write a list"
    return "write a text, a number, a list or a dict"


def _kind(value: object) -> str:
    return type(value).__name__
