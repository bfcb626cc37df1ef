"""Documents in the order of a field instead of a score: with a query that selects, or without."""

from __future__ import annotations

from indexes.manifest import TermField
from indexes.snapshot import Selection, Snapshot

from .errors import BadQuery
from .parts import fields_of
from .retrievers import FieldRetriever
from .scorer import Ids, Scorer
from .snippets import unmarked
from .types import Hit

BEGINNING = 200  # characters of a text that are shown where no query says which


def sorted_matches(
    scorer: Scorer, query: str, sort: str, limit: int, where: Selection | None
) -> Ids:
    """The first `limit` documents (m,) by a field, of those that share a term with the query.

    A fusion matches what its first field does. Raises BadQuery for a retriever of vectors, which
    every document matches.
    """
    part = next(iter(fields_of(scorer, where)), scorer)
    if isinstance(part, FieldRetriever):
        spec = part.snapshot.fields[part.fields["document"]]
        if not isinstance(spec, TermField):
            raise BadQuery(
                f"retriever {part.name!r} matches every document, so there is nothing to sort by"
                " a field; take one of words, such as bm25, or browse without a query"
            )
    snapshot = part.snapshot
    every = part.top([query], max(1, snapshot.n_documents), where, "document")[0]
    return snapshot.sort(sort, limit, snapshot.selection(every.ids))


def listed(snapshot: Snapshot, sort: str, limit: int, where: Selection | None) -> list[Hit]:
    """The first `limit` documents by a field, as hits without a score."""
    records = snapshot.records(snapshot.sort(sort, limit, where))
    hits = []
    for rank, record in enumerate(records, 1):
        start, end = record.passages[0]
        beginning = unmarked(record.text[start : min(end, start + BEGINNING)]).strip()
        hits.append(
            Hit(
                rank=rank,
                id=record.id,
                score=0.0,
                title=record.title,
                snippet=beginning,
                document=record.id,
                passage=0,
                start=start,
                end=end,
                metadata=record.metadata,
                marked_title=unmarked(record.title).strip(),
            )
        )
    return hits
