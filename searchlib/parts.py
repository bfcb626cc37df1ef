"""What a retriever is made of."""

from __future__ import annotations

from indexes.snapshot import Selection

from .fused import Fused
from .quoting import Quoting
from .refined import Refined
from .reranked import Reranked
from .retrievers import FieldRetriever
from .scorer import Scorer


def fields_of(scorer: Scorer, where: Selection | None) -> tuple[FieldRetriever, ...]:
    """The retrievers of fields that find a retriever's candidates under a filter, in order."""
    if isinstance(scorer, FieldRetriever):
        return (scorer,)
    if isinstance(scorer, Refined):
        return (scorer.asking(where),)
    if isinstance(scorer, Reranked):
        return fields_of(scorer.retriever, where)
    if isinstance(scorer, Quoting):
        return fields_of(scorer.plain, where)
    if isinstance(scorer, Fused):
        return tuple(part for parts in scorer.parts for part in fields_of(parts, where))
    return ()
