"""From queries with candidates to a trained model in the work folder: the loop, and its checks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from indexes.types import TermVectors

from ..encoders.blend_layout import base_of, carry_blend
from ..encoders.dense_layout import read_dense
from ..encoders.models import resolve
from ..encoders.quiet import quiet
from ..encoders.sparse_layout import read_sparse
from ..errors import BadQuery, UnsupportedModel
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from .batch import Batch
from .drawing import DrawSettings, Material, draw
from .export import export_dense, export_sparse
from .held_out import ndcg_of_lists, own_gains
from .log import logged, read_log
from .loop import State, TrainingSettings, train
from .models import Trainable, TrainableDense, TrainableSparse
from .new_folder import new_folder
from .objectives import ranking
from .pacing import affordable
from .publishing import LOG, MODEL
from .reading import ReadingSettings, read_corpus
from .source import Kind, model_of

CHECK_CANDIDATES = 8  # of each query that training is checked with
TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class MakingSettings:
    """What the loop is given, and what it draws its batches from.

    `reading`: None for models that only learn to rank. `share`: how far the weights go of the way
    from what they were to what training made them: a part of it keeps more of what a model could
    do for other queries (WiSE-FT: Wortsman et al. 2021, arXiv:2109.01903).
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    drawing: DrawSettings = field(default_factory=DrawSettings)
    reading: ReadingSettings | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadQuery(f"illegal share: {self.share}, must be above 0 and at most 1")


def make_model(
    engine: Searching,
    work: Path,
    kind: Kind,
    settings: MakingSettings,
    *,
    material: Material,
    checks: Material,
    seconds: float | None = None,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> int:
    """Train the index's model and leave it in the work folder; how many steps it took.

    `material` is learned from, `checks` say now and then how it goes; of all that they saw the
    best weights are kept. `seconds`: of training, about; steps are fewer if that is too short for
    all. A model that is there is finished; a checkpoint is gone on from.
    """
    if not (work / MODEL).is_dir():
        given = resolve(model_of(engine, kind)).path
        source = base_of(given) if kind == "sparse" else given
        model = trainable(source, kind, engine.settings.passage_tokens, device)

        def validate() -> float:
            return float(ndcg_of(model, checks).mean())

        began = time.monotonic()
        if isinstance(model, TrainableSparse):
            score_as_indexed(model, engine)
            if settings.reading is not None and settings.reading.steps:
                before = TrainableSparse(source, engine.settings.passage_tokens, device)
                read_corpus(
                    model, before, settings.reading, work, material,
                    like=settings.training, validate=validate, seconds=seconds,
                    on_progress=on_progress,
                )  # fmt: skip
        if seconds is not None:
            seconds = max(1.0, seconds - (time.monotonic() - began))
        ranks = ranking(model, settings.training)

        def drawn(rng: np.random.Generator) -> Batch:
            return draw(material, settings.drawing, rng)

        steps = affordable(
            work / "steps.json", model, settings.training, seconds,
            lambda rng: ranks(drawn(rng), State())[0],
        )  # fmt: skip
        with logged(work / LOG, steps, on_progress) as report:
            train(
                model,
                drawn,
                ranks,
                replace(settings.training, steps=steps),
                work / "checkpoints",
                report=report,
                validate=validate,
            )
        if settings.share < 1:
            go_back(
                model,
                trainable(source, kind, engine.settings.passage_tokens, device),
                settings.share,
            )
        with new_folder(work / MODEL) as folder, quiet():
            if kind == "sparse":
                export_sparse(source, read_sparse(source).plain(), model.save, folder)
                carry_blend(given, folder)
            else:
                export_dense(source, read_dense(source), model.save, folder)
    entries = read_log(work / LOG)
    return int(entries[-1]["step"]) if entries else 0


def go_back(model: Trainable, before: Trainable, share: float) -> None:
    """Set a model's weights to `share` of the way from those of `before` to its own."""
    with torch.no_grad():
        for parameter, old in zip(model.parameters(), before.parameters(), strict=True):
            parameter.copy_(torch.lerp(old, parameter, share))


def check_trainable(model: str, kind: Kind) -> None:
    """Raises UnsupportedModel for one whose weights cannot be trained without losing a part."""
    if kind == "sparse" and read_sparse(resolve(model).path).gains is not None:
        raise UnsupportedModel(
            f"{model} has factors of query terms; train the model that it was made of"
        )


def trainable(source: Path, kind: Kind, max_tokens: int, device: str | None) -> Trainable:
    """The model of a folder, with a gradient. Raises UnsupportedModel."""
    if kind == "sparse":
        return TrainableSparse(source, max_tokens, device)
    return TrainableDense(source, max_tokens, device)


def ndcg_of(model: Trainable, checks: Material) -> NDArray[np.float64]:
    """nDCG@10 (n,) of the checks' own passages, without the queries, among 8 candidates each."""
    lists = checks.lists.passages[:, :CHECK_CANDIDATES]
    own = [
        checks.texts.without(query, lists[row, :1])[0] for row, query in enumerate(checks.queries)
    ]
    distinct, places = np.unique(lists[:, 1:], return_inverse=True)
    texts = [*own, *checks.texts(distinct)]
    columns = np.column_stack([np.arange(len(own)), len(own) + places.reshape(len(own), -1)])
    with torch.no_grad():
        queries = _encoded(model, [query.text for query in checks.queries], query=True)
        scores = np.empty((len(own), len(texts)), np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = model.encode(texts[start : start + TEXTS_AT_ONCE], query=False)
            found = model.scores(queries, some).cpu().numpy()
            scores[:, start : start + TEXTS_AT_ONCE] = found
    chosen = np.take_along_axis(scores, columns, axis=1)
    return ndcg_of_lists(chosen, own_gains((len(own), lists.shape[1])))


def _encoded(model: Trainable, texts: Sequence[str], query: bool) -> torch.Tensor:
    parts = range(0, len(texts), TEXTS_AT_ONCE)
    return torch.cat([model.encode(texts[at : at + TEXTS_AT_ONCE], query=query) for at in parts])


def score_as_indexed(model: TrainableSparse, engine: Searching) -> None:
    """Have a model's scores made as the index makes them: its idf, its power of lengths."""
    size = len(model.weight)
    names = [model.tokenizer.term(id) for id in range(size)]
    every = TermVectors(
        names, np.array([0, size]), np.arange(size, dtype=np.int32), np.ones(size, np.float32)
    )
    weights = engine.snapshot.query_weights("sparse", every)
    model.factors = torch.from_numpy(weights).to(model.weight.device)
    model.length_power = engine.settings.sparse_length_power
