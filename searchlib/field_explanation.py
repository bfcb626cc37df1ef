"""Why a field of an index gives a row its score: terms that add up to it, or one similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexes.manifest import TermField, VectorField
from indexes.types import TermPart, TermVectors, Unit

from .types import Explanation

if TYPE_CHECKING:
    from .retrievers import FieldRetriever

Share = tuple[str, Mapping[str, float] | NDArray[np.float32]]
"""Whose it is, and one summand of a query's vector."""


def explain_field(field: FieldRetriever, query: str, id: int, unit: Unit) -> Explanation:
    """The score's parts; a document in a passage field is explained by its best passage."""
    spec = field.snapshot.fields[field.fields[unit]]
    if unit == "document" and spec.unit == "passage":
        first, count = field.snapshot.passages_of(id)
        passages = np.arange(first, first + count, dtype=np.int64)
        scores = field.scores(query, passages, None, "passage")
        best = int(np.argmax(scores))
        parts = tuple(
            _explain_row(field, query, int(passages[i]), "passage")
            if i == best
            else Explanation(float(scores[i]), f"passage #{i}")
            for i in range(count)
        )
        if count == 1:
            return parts[0]
        return Explanation(
            parts[best].value, f"{field.name}: best of {count} passages", "max", parts
        )
    return _explain_row(field, query, id, unit)


def _explain_row(field: FieldRetriever, query: str, id: int, unit: Unit) -> Explanation:
    field_name = field.fields[unit]
    spec = field.snapshot.fields[field_name]
    row = (
        f"passage #{field.snapshot.passage_number(np.array([id]))[0]}"
        if unit == "passage"
        else "document"
    )
    shares = field.shares(query) if field.shares is not None else ()
    if isinstance(spec, VectorField):
        name = f"{field.name}: similarity of query and {row}"
        return _explain_vector(field, query, (id, unit), name, shares)
    vector = field.queries.encode([query])
    assert isinstance(vector, TermVectors)
    parts = field.snapshot.explain(field_name, vector, id, similarity=field.similarity)
    own = getattr(field.queries.encoder, "own_terms", None)
    words = own(query) if own is not None else frozenset()
    sources = field.sources(id) if field.sources is not None and parts else {}
    nodes = tuple(
        _term_node(part, spec, words, sources.get(part.term, ""), shares)
        for part in sorted(parts, key=lambda p: -p.contribution)
    )
    total = sum(node.value for node in nodes)
    return Explanation(total, f"{field.name}: terms shared by query and {row}", "sum", nodes)


def _explain_vector(
    field: FieldRetriever, query: str, row: tuple[int, Unit], name: str, shares: Sequence[Share]
) -> Explanation:
    ids, unit = np.array([row[0]], np.int64), row[1]
    field_name = field.fields[unit]
    spec = field.snapshot.fields[field_name]
    assert isinstance(spec, VectorField)
    note = f"dot product of two vectors of {spec.dim} dimensions"
    if not shares:
        return Explanation(float(field.scores(query, ids, None, unit)[0]), name, note=note)
    nodes = []
    for whose, vector in shares:
        assert isinstance(vector, np.ndarray)
        score = field.snapshot.scores(field_name, vector, ids, unit)
        nodes.append(Explanation(float(score[0]), whose))
    return Explanation(sum(node.value for node in nodes), name, "sum", tuple(nodes), note)


def _term_node(
    part: TermPart, spec: TermField, words: frozenset[str], source: str, shares: Sequence[Share]
) -> Explanation:
    weighed = tuple(
        Explanation(row[part.term], whose)
        for whose, row in shares
        if not isinstance(row, np.ndarray) and row.get(part.term)
    )
    kind = ""
    if weighed and weighed[0].name != shares[0][0]:  # nothing of it is the query's own
        kind = " (feedback)"
    elif words:
        kind = " (query word)" if part.term in words else " (expansion)"
    weight_name = "count" if spec.kind == "count" else "weight"
    origin = f", from “{source}”" if source and source.lower() != part.term else ""
    leaves = (
        Explanation(part.query_weight, "query weight", "sum" if weighed else "leaf", weighed),
        Explanation(
            part.impact,
            "impact",
            note=f"{weight_name} {part.weight:.4g}{origin}, in {part.document_frequency} rows",
        ),
    )
    return Explanation(part.contribution, f"{part.term}{kind}", "product", leaves)
