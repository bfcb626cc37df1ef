"""What a sparse encoder makes of a text: terms, weights, and which of them the text has itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import BadQuery, check_k

if TYPE_CHECKING:
    from .encoders.sparse import SparseEncoder


@dataclass(frozen=True)
class Expansion:
    """One term of an expansion; `source` tells whether the text has the term itself."""

    term: str
    weight: float
    source: Literal["text", "expansion"]


def expand_with(encoder: SparseEncoder, text: str, k: int | None = None) -> list[Expansion]:
    """The terms that `encoder` makes of `text` as a document, heaviest first, at most k.

    Raises:
        BadQuery: the text is empty, or k is less than 1.
    """
    if not text.strip():
        raise BadQuery("the text is empty; give at least one word")
    if k is not None:
        check_k(k)
    own = encoder.own_terms(text)
    weights = encoder.encode_document([text]).row(0)
    terms = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:k]
    return [Expansion(t, w, "text" if t in own else "expansion") for t, w in terms]


def outside_share(terms: list[Expansion]) -> float:
    """The share (0 to 1) of the weight that lies on terms which the text does not have."""
    total = sum(term.weight for term in terms)
    outside = sum(term.weight for term in terms if term.source == "expansion")
    return outside / total if total else 0.0


def expand(text: str, k: int | None = None, *, model: str | None = None) -> list[Expansion]:
    """The terms that a sparse encoder makes of a text, without an index.

    Raises:
        ModelNotFound: the model's files are nowhere to be found.
    """
    from .encoders.sparse import SparseEncoder

    encoder = SparseEncoder(model) if model is not None else SparseEncoder()
    return expand_with(encoder, text, k)
