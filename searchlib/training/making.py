"""From queries with candidates to a trained model in the work folder: the loop, and its checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..encoders.dense_layout import read_dense
from ..encoders.models import resolve
from ..encoders.sparse_layout import read_sparse
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from .batches import Batch, Material, batches
from .export import export_dense, export_sparse, new_folder
from .held_out import ndcg_of_lists, own_gains
from .log import TrainingLog, read_log
from .loop import TrainingSettings, train
from .models import TrainableSparse
from .publishing import LOG, MODEL
from .source import Kind, model_of

if TYPE_CHECKING:
    from torch import Tensor

QUERIES_AT_ONCE = 8


@dataclass(frozen=True)
class MakingSettings:
    """What the loop is given, and how.

    `queries`: of a step. `candidates`: of each query, its own passage first. `cut`: in which
    share of the lists the own passage lacks what became the query.
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    queries: int = 8
    candidates: int = 6
    cut: float = 0.5


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

    `material` is learned from, `checks` say now and then how it goes. `seconds`: of training, at
    most.
    A model that is there is finished. Checkpoints and log are in the work folder too.
    """
    if (work / MODEL).is_dir():
        entries = read_log(work / LOG)
        return int(entries[-1]["step"]) if entries else 0
    source = resolve(model_of(engine, kind)).path
    longest = min(engine.settings.passage_tokens, settings.training.max_tokens)
    model = TrainableSparse(source, longest, device)

    def from_step(start: int) -> Iterator[Batch]:
        return batches(
            material, settings.queries, settings.candidates,
            seed=settings.training.seed, cut=settings.cut, start=start,
        )  # fmt: skip

    def check(model: TrainableSparse) -> float:
        return float(ndcg_of(model, checks).mean())

    with TrainingLog(work / LOG) as log:
        steps = train(
            model,
            from_step,
            replace(settings.training, seconds=seconds),
            work / "checkpoints",
            log,
            check,
            on_progress,
        )
    with new_folder(work / MODEL) as folder:
        if kind == "sparse":
            export_sparse(source, read_sparse(source), model.save, folder)
        else:
            export_dense(source, read_dense(source), model.save, folder)
    return steps


def ndcg_of(model: TrainableSparse, checks: Material) -> NDArray[np.float64]:
    """nDCG@10 (n,) of the checks' own passages, without the queries, among their candidates."""
    import torch

    size = checks.lists.passages.shape[1]
    scores = np.empty((len(checks), size), np.float32)
    columns = np.arange(size)
    with torch.no_grad():
        for start in range(0, len(checks), QUERIES_AT_ONCE):
            rows = range(start, min(start + QUERIES_AT_ONCE, len(checks)))
            asked = model.encode([checks.queries[row].text for row in rows], True)
            for row, query in zip(rows, asked, strict=True):
                found: Tensor = model.encode(checks.candidates(row, columns, True), False) @ query
                scores[row] = found.cpu().numpy()
    return ndcg_of_lists(scores, own_gains((len(checks), size)))
