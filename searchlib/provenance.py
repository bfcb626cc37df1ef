"""Where expansion terms come from: max-pooling knows which token of a passage made each term."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .encoders.sparse import SparseEncoder


def term_sources(encoder: SparseEncoder, passage: str) -> dict[str, str]:
    """{term: the piece of the passage whose logit for it was the largest}.

    The passage is encoded anew, which takes as long as indexing it did.
    """
    provenance = encoder.encode_with_provenance([passage])
    terms = provenance.vectors.row(0)
    spans = provenance.spans[0]
    return {term: passage[slice(*span)] for term, span in zip(terms, spans, strict=True)}
