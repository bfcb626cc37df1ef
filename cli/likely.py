"""Hits that say how probable it is that they are relevant, and what is said where none is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say

if TYPE_CHECKING:
    from searchlib.calibration import Calibration
    from searchlib.scorer import Scorer
    from searchlib.searching import Searching
    from searchlib.types import Hit

FEW_WORDS = 2

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

    `calibration`: tells whether even the best is not good.
    """

    asked: float | None
    least: float
    calibration: Calibration | None

    @staticmethod
    def of(engine: Searching, asked: str | Scorer, least: float | None) -> Likely:
        """What an index has to say of a retriever's hits, where `least` was asked for or not."""
        from searchlib.errors import BadQuery

        calibrated = engine.calibrated() if asked == "hybrid" else None
        if least is not None and not 0 <= least <= 1:
            raise BadQuery(f"illegal --min-probability: {least}, must be between 0 and 1")
        if calibrated is None:  # if asked for anyway, the search refuses
            return Likely(least, least or 0.0, None)
        return Likely(0.0, least or 0.0, calibrated.calibration)

    def shown(self, query: str, hits: list[Hit], *, first: bool) -> list[Hit]:
        """The hits to show; on the first page it is said where none is good."""
        if first and self.nothing_good(query, hits):
            say(f"nothing good found: the best match is likely off-topic (p = {_best(hits):.2f})")
        return [hit for hit in hits if hit.probability is None or hit.probability >= self.least]

    def nothing_good(self, query: str, hits: list[Hit]) -> bool:
        """Whether even the best hit is likely off-topic.

        Not for a word or two: the default was fitted to questions, and knows of nothing shorter.
        """
        from searchlib.calibration import DEFAULT

        if self.calibration is None:
            return False
        if self.calibration == DEFAULT and len(query.split()) <= FEW_WORDS:
            return False
        return self.calibration.nothing_good(_best(hits))


def _best(hits: list[Hit]) -> float | None:
    return max((hit.probability for hit in hits if hit.probability is not None), default=None)
