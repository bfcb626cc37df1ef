"""Filters as SQL over a store's table documents(id, title, metadata).

Slow, because it parses the metadata of every document, and plain: it says what filters mean, and
tests hold `filter_columns` to it; the product asks it of ids and titles only. `comparable` is
that of `moments`, as a function of SQL (`with_moments`).
"""

from __future__ import annotations

from typing import Any

from .filters import All, Any_, Exists, Filter, Match, Not, Prefix
from .moments import comparable

OWN = {("id",): "documents.id", ("title",): "documents.title"}

# A condition speaks of one value, as :type and :value, and holds, does not, or is NULL.
_NUMBER = (
    "CASE WHEN :type IN ('integer', 'real') THEN :value"
    " WHEN :type = 'text' AND CAST(CAST(:value AS NUMERIC) AS TEXT) = :value"
    " THEN CAST(:value AS NUMERIC) END"
)


def to_sql(filter: Filter) -> tuple[str, list[Any]]:
    """The filter as an SQL condition on `documents`, and the values of its ?1, ?2, ...

    Every value is bound; so is a field's name, as a quoted JSON path.
    """
    bound: list[Any] = []
    return _sql(filter, bound), bound


def _sql(filter: Filter, bound: list[Any]) -> str:
    if isinstance(filter, Not):
        return f"(NOT {_sql(filter.part, bound)})"
    if isinstance(filter, All):
        return _joined(" AND ", [_sql(part, bound) for part in filter.parts])
    if isinstance(filter, Any_):
        return _joined(" OR ", [_sql(part, bound) for part in filter.parts])
    if isinstance(filter, Exists):
        return _exists(filter.field, bound)
    if isinstance(filter, Match):
        return _match(filter, bound)
    if isinstance(filter, Prefix):
        value = _bind(filter.text, bound)
        condition = f":type = 'text' AND substr(:value, 1, length({value})) = {value}"
    elif isinstance(filter.value, str):
        text, value = _text(filter.field, filter.value, bound)
        condition = f":type = 'text' AND {text} {filter.operator} {value}"
    else:
        value = _bind(filter.value, bound)
        condition = f"{_NUMBER} {filter.operator} {value}"
    return _some(filter.field, condition, bound)


def _text(field: tuple[str, ...], value: str, bound: list[Any]) -> tuple[str, str]:
    """What a text of the field is compared by, and what with; ids and titles are as they are."""
    if field in OWN:
        return ":value", _bind(value, bound)
    return "comparable(:value)", _bind(comparable(value), bound)


def _bind(value: Any, bound: list[Any]) -> str:
    bound.append(value)
    return f"?{len(bound)}"


def _joined(word: str, parts: list[str]) -> str:
    """Parts joined as a balanced tree, because SQLite limits the depth of an expression."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(word, parts[:half])}{word}{_joined(word, parts[half:])})"


def _match(filter: Match, bound: list[Any]) -> str:
    values = filter.values
    texts = [_text(filter.field, v, bound) for v in values if isinstance(v, str)]
    numbers = [
        _bind(v, bound) for v in values if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    conditions = []
    if texts:
        members = ", ".join(bound for _, bound in texts)
        conditions.append(f":type = 'text' AND {texts[0][0]} IN ({members})")
    if numbers:
        conditions.append(f"{_NUMBER} IN ({', '.join(numbers)})")
    if any(value is True for value in values):
        conditions.append(":type = 'true'")
    if any(value is False for value in values):
        conditions.append(":type = 'false'")
    parts = [_some(filter.field, " OR ".join(conditions), bound)] if conditions else []
    if None in values:
        parts.append(f"(NOT {_exists(filter.field, bound)})")
    return _joined(" OR ", parts)


def _exists(field: tuple[str, ...], bound: list[Any]) -> str:
    if field in OWN:
        return f"({OWN[field]} <> '')"
    # json_type is NULL where there is nothing, and 'null' where there is null.
    return f"(coalesce(json_type(documents.metadata, {_path(field, bound)}), 'null') <> 'null')"


def _some(field: tuple[str, ...], condition: str, bound: list[Any]) -> str:
    """The condition holds for the field's value, or for one member of the list that it is."""

    def of(type: str, value: str) -> str:
        return condition.replace(":type", type).replace(":value", value)

    if field in OWN:
        return "(({}) IS TRUE)".format(of("'text'", OWN[field]))
    place = f"(documents.metadata, {_path(field, bound)})"
    return (
        f"(CASE json_type{place} WHEN 'object' THEN 0 WHEN 'array' THEN EXISTS"
        f" (SELECT 1 FROM json_each{place} AS member WHERE {of('member.type', 'member.value')})"
        f" ELSE ({of('json_type' + place, 'json_extract' + place)}) IS TRUE END)"
    )


def _path(field: tuple[str, ...], bound: list[Any]) -> str:
    return _bind(json_path(field), bound)


def json_path(field: tuple[str, ...]) -> str:
    """A field as SQLite's JSON functions name it; names hold no quotes.

    >>> json_path(("author", "first name"))
    '$."author"."first name"'
    """
    return "$" + "".join(f'."{name}"' for name in field)
