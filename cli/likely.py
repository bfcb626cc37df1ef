"""Hits that say how probable it is that they are relevant, and what is said where none is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say

if TYPE_CHECKING:
    from searchlib.evidence import Calibrated
    from searchlib.scorer import Scorer
    from searchlib.searching import Searching
    from searchlib.types import Hit

MinProbability = Annotated[
    float | None,
    typer.Option(
        help="Leave out hits that are less probably relevant (hybrid only).",
        show_default=False,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Likely:
    """`asked`: None where hits have no probabilities. `least`: what they need to be shown.

    `calibrated`: tells whether even the best is not good. `where`: the filter that is asked with.
    """

    asked: float | None
    least: float
    calibrated: Calibrated | None
    where: str | None

    @staticmethod
    def of(
        engine: Searching, asked: str | Scorer, least: float | None, where: str | None
    ) -> Likely:
        """What an index has to say of a retriever's hits, where `least` was asked for or not."""
        from searchlib.errors import BadQuery

        calibrated = engine.calibrated() if asked == "hybrid" else None
        if least is not None and not 0 <= least <= 1:
            raise BadQuery(f"illegal --min-probability: {least}, must be between 0 and 1")
        if calibrated is None:  # if asked for anyway, the search refuses
            return Likely(least, least or 0.0, None, where)
        return Likely(0.0, least or 0.0, calibrated, where)

    def shown(self, query: str, hits: list[Hit], *, first: bool, typed: str | None) -> list[Hit]:
        """The hits to show of a query as it is read; on the first page it is said where none is
        good, and of which query as it was `typed`, if there are several."""
        from searchlib.errors import shown

        kept = [hit for hit in hits if hit.probability is None or hit.probability >= self.least]
        if first and (said := self.warning(query, hits) or self.left_out(hits, kept)):
            say(said if typed is None else f"{shown(typed)}: {said}")
        return kept

    def warning(self, query: str, hits: list[Hit]) -> str:
        """What is to be said where even the best hit is likely off-topic; nothing elsewhere."""
        best = _best(hits)
        if self.calibrated is None or not self.calibrated.calibration.nothing_good(best):
            return ""
        if self.calibrated.words_nowhere(query, self.where):
            some = "no document" if self.where is None else "no document that the filter selects"
            return (
                f"{some} has any word of the query: what is nearest by meaning is likely off-topic "
                f"(p = {best:.2f})"
            )
        return f"nothing good found: the best match is likely off-topic (p = {best:.2f})"

    def left_out(self, hits: list[Hit], kept: list[Hit]) -> str:
        """What is to be said where hits were found, but none is probable enough to be shown."""
        if kept or not hits:
            return ""
        return f"nothing is as probable as {self.least:g}: the best match has p = {_best(hits):.2f}"


def _best(hits: list[Hit]) -> float | None:
    return max((hit.probability for hit in hits if hit.probability is not None), default=None)
