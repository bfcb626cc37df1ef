"""When a filter lets nothing through, or something is sorted: is there such a field at all?"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from .errors import say

if TYPE_CHECKING:
    from searchlib.searching import Searching

SAMPLE = 20  # documents whose fields are proposed instead


def warn_of_unknown_fields(engine: Searching, where: str) -> None:
    """Says on stderr which fields of the filter no document has, and what there is."""
    from indexes.filter_columns import comparisons_of
    from indexes.filters import parse_filter

    for field in dict.fromkeys(test.field for test in comparisons_of(parse_filter(where))):
        _warn_if_unknown(engine, field)


def warn_of_unknown_order(engine: Searching, sort: str) -> None:
    """The same of the field that is sorted by. Raises BadFilter."""
    from indexes.filters import parse_field

    field = parse_field(sort.removeprefix("-"))
    if field not in (("id",), ("title",)) and engine.snapshot.n_documents:
        _warn_if_unknown(engine, field)


def _warn_if_unknown(engine: Searching, field: tuple[str, ...]) -> None:
    path = ".".join(f"`{name}`" for name in field)
    if not len(engine.snapshot.select(f"exists {path}")):
        say(f"no document has the field {'.'.join(field)!r}{_there_is(engine, field[0])}")


def _there_is(engine: Searching, wanted: str) -> str:
    import itertools

    ids = list(itertools.islice(engine.snapshot.all_ids(), SAMPLE))
    records = engine.snapshot.records(engine.snapshot.lookup(ids))
    names = sorted({name for record in records for name in record.metadata} | {"id", "title"})
    close = get_close_matches(wanted, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there is: {', '.join(names[:20])}"
