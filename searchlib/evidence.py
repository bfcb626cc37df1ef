"""What is known of a hit when a query is answered: the evidence that calibration weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from indexes.manifest import VectorField
from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .calibration import DEFAULT, Calibration, Float64s
from .config import Settings
from .errors import BadQuery, shown
from .fused import Fused
from .holding import Spellings, holding, rarest_first, spellings_of
from .naming import find_id
from .retrievers import FieldRetriever
from .scorer import Scorer, selected
from .types import Explanation, Hit

NAMES = ("share", "cosine", "whole")
_NOTES = (
    "logarithm of the score over the sum of the weights: how far it stands out",
    "similarity of the vectors",
    "1 where every word of the query is there, else 0",
)
_LEAST = 1e-6  # a share whose logarithm is taken


def evidence_of(
    hybrid: Fused, query: str, top: TopK, where: Selection | None, unit: Unit
) -> Float64s:
    """Share, cosine and wholeness of each hit (m, 3), of hits that the hybrid gave these scores.

    The share is the logarithm of the score over the sum of the hybrid's weights. The cosine is the
    dense part's score. Whole is 1 where every word of the query stands in the hit, as BM25 knows
    words and in any of its spellings, else 0: a number, a date or a name means nothing to a dense
    model, but who has it has it. What the hybrid has no part for is 0. Nothing depends on the
    other hits.
    """
    evidence = np.zeros((len(top.ids), len(NAMES)))
    total = sum(hybrid.weights)
    if total > 0:
        evidence[:, 0] = np.log(np.maximum(top.scores.astype(np.float64) / total, _LEAST))
    else:
        evidence[:, 0] = np.log(_LEAST)
    for part in hybrid.parts if len(top.ids) else ():
        assert isinstance(part, FieldRetriever)
        spec = hybrid.snapshot.fields[part.fields[unit]]
        if isinstance(spec, VectorField):
            evidence[:, 1] = part.scores(query, top.ids, where, unit)
        elif words := _words(part, query, unit):
            field = part.fields[unit]
            words = rarest_first(hybrid.snapshot, field, words)
            evidence[:, 2] = holding(hybrid.snapshot, field, words, top.ids, unit)
    return evidence


def _words(part: Scorer, query: str, unit: Unit) -> list[Spellings]:
    """The query's words, where the part is BM25."""
    assert isinstance(part, FieldRetriever)
    spec = part.snapshot.fields[part.fields[unit]]
    if isinstance(spec, VectorField) or spec.kind != "count":
        return []
    return spellings_of(query, part.queries)


def calibrated_hybrid(hybrid: Scorer) -> Calibrated | None:
    """An index's hybrid and its calibration: the index's own, else the default; None: neither."""
    if not isinstance(hybrid, Fused):
        return None
    own = Settings.from_json(dict(hybrid.snapshot.settings)).calibration
    fits = own is not None and own.model in (dense_model(hybrid.snapshot) or ("",))
    calibration = own if fits else default_calibration(hybrid.snapshot)
    return Calibrated(hybrid, calibration) if calibration is not None else None


def default_calibration(snapshot: Snapshot) -> Calibration | None:
    """The default, where an index has the dense model that it was fitted to."""
    return DEFAULT if DEFAULT.model in dense_model(snapshot) else None


def dense_model(snapshot: Snapshot) -> tuple[str, ...]:
    """The name and the fingerprint of an index's dense model, if it has one."""
    field = snapshot.fields.get("dense")
    return () if field is None else (field.encoder["model"], field.encoder["fingerprint"])


@dataclass(frozen=True)
class Calibrated:
    """The hybrid, and the calibration that turns its scores into probabilities."""

    hybrid: Fused
    calibration: Calibration

    def probabilities(
        self, query: str, top: TopK, where: Selection | None = None, unit: Unit = "document"
    ) -> Float64s:
        """How probable it is that each hit (m,) of `top`, which the hybrid gave, is relevant."""
        return self.calibration.probabilities(evidence_of(self.hybrid, query, top, where, unit))

    def likely(
        self,
        hits: Sequence[Hit],
        query: str,
        top: TopK,
        where: Selection | None,
        unit: Unit,
        *,
        least: float,
    ) -> list[Hit]:
        """The hits of `top` with their probabilities, without those below `least`.

        Raises:
            BadQuery: `least` is not between 0 and 1.
        """
        if not isinstance(least, Real) or not 0 <= least <= 1:
            raise BadQuery(f"illegal min_probability: {shown(least)}, must be between 0 and 1")
        values = self.probabilities(query, top, where, unit).tolist()
        told = (replace(hit, probability=p) for hit, p in zip(hits, values, strict=True))
        return [hit for hit in told if hit.probability is not None and hit.probability >= least]

    def words_nowhere(self, query: str, where: str | None = None) -> bool:
        """Whether the query has words, and no document that `where` selects has any of them.

        What is found then is what is nearest by meaning. Stop words are no words here.

        Raises:
            BadFilter: `where` cannot be parsed.
        """
        selection = selected(self.hybrid.snapshot, where)
        words = [part for part in self.hybrid.parts if _words(part, query, "document")]
        return bool(words) and not any(
            len(part.top([query], 1, selection, "document")[0].ids) for part in words
        )

    def explain(
        self, query: str, name: str, where: str | None = None, unit: Unit = "document"
    ) -> Explanation:
        """The log-odds of a document's or passage's being relevant, as the sum of its evidence.

        `where`: the filter that it was found with, which has its say in what its rivals are.
        `unit`: as in `Engine.explain`.

        Raises:
            NotFound: no such document or passage.
        """
        id, unit = find_id(self.hybrid.snapshot, name, unit)
        ids = np.array([id], np.int64)
        selection = selected(self.hybrid.snapshot, where)
        top = TopK(ids, self.hybrid.scores(query, ids, selection, unit))
        [row] = evidence_of(self.hybrid, query, top, selection, unit).tolist()
        parts = [Explanation(self.calibration.base, "base")]
        for value, slope, what, note in zip(
            row, self.calibration.slopes.tolist(), NAMES, _NOTES, strict=True
        ):
            factors = (Explanation(slope, "slope"), Explanation(value, what, note=note))
            parts.append(Explanation(slope * value, what, "product", factors))
        [probability] = self.probabilities(query, top, selection, unit).tolist()
        odds = sum(part.value for part in parts)
        note = f"probability {probability:.2f}"
        return Explanation(odds, "log-odds that it is relevant", "sum", tuple(parts), note)
