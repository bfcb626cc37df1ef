"""A sparse model reads the corpus before it learns to rank: it guesses hidden words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import BadQuery
from ..protocols import Progress
from .drawing import Material
from .log import logged
from .loop import State, TrainingSettings, train
from .mlm import MaskedTexts, Masking, draw_masked
from .models import TrainableSparse
from .objectives import reading
from .pacing import affordable
from .publishing import READING_LOG

CHECKS = 3  # while reading


@dataclass(frozen=True)
class ReadingSettings:
    """How the corpus is read.

    `texts` a step, of which `replayed` are also to have the vectors that they had; `replay`: how
    much that counts beside guessing (0: the model forgets how to expand within 100 steps).
    """

    steps: int = 150  # `adapt` has 0: benchmarks/adaptation.md says why
    learning_rate: float = 5e-5
    texts: int = 16
    replayed: int = 8
    replay: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.texts < 1 or not 0 <= self.replayed <= self.texts:
            numbers = (self.steps, self.texts, self.replayed)
            raise BadQuery(
                f"illegal reading: steps, texts, replayed are {numbers}; must be 0 or more, 1 or "
                "more, at most as many as texts"
            )


def read_corpus(
    model: TrainableSparse,
    before: TrainableSparse,
    settings: ReadingSettings,
    work: Path,
    material: Material,
    *,
    like: TrainingSettings,
    validate: Callable[[], float],
    seconds: float | None,
    on_progress: Progress,
) -> None:
    """Masked-language-model training on the material's passages, with replay (`objectives.py`).

    `before`: the same model, as it is. `like`: gives the seed, and how often to keep and to
    `validate` what was reached: the best weights remain, those from before among them. In a third
    of the `seconds` at most; what was done is gone on from, or read back.

    Raises UnsupportedModel for a tokenizer without a token for masks.
    """
    masking = Masking.of(model.tokenizer)
    objective = reading(model, before, settings.replay)

    def drawn(rng: np.random.Generator) -> MaskedTexts:
        return draw_masked(
            material.texts, material.passages, model.tokenizer, masking,
            count=settings.texts, replayed=settings.replayed, rng=rng,
        )  # fmt: skip

    training = TrainingSettings(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=like.seed,
        checkpoint_every=like.checkpoint_every,
        evaluate_every=max(1, settings.steps // CHECKS),
        patience=CHECKS,
    )
    steps = affordable(
        work / "reading.json", model, training, None if seconds is None else seconds / 3,
        lambda rng: objective(drawn(rng), State())[0],
    )  # fmt: skip
    with logged(work / READING_LOG, steps, on_progress, "reading") as report:
        train(
            model, drawn, objective, replace(training, steps=steps), work / "reading",
            report=report, validate=validate,
        )  # fmt: skip
