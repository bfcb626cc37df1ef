"""Fine-tuning a dense model by a linear map of its vectors: nothing is encoded, it takes seconds.

The index holds the documents' vectors already, and queries are short; so a map x -> x (I + W),
the same for both, sees every batch for the price of a product. It starts from doing nothing, and
stops half way between that and what it learned (as weights are averaged in WiSE-FT, Wortsman et
al. 2022, arXiv:2109.01903): what the model knew of documents that answer no training query stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..encoders.dense_layout import Normalize, read_dense
from ..encoders.models import resolve
from ..encoders.quiet import quiet
from ..protocols import Progress
from ..searching import Searching
from .adapt import vectors
from .export import export_map
from .fitting import FitSettings, fit
from .log import logged
from .mining import passages_of
from .new_folder import new_folder
from .publishing import LOG, MODEL
from .source import model_of
from .texts import live_passages

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

MAP = FitSettings(learning_rate=1e-3, share=0.5)
"""What held over seven collections (benchmarks/adaptation.md)."""
DRAWN = 20_000
"""Passages that negatives are drawn from, at most."""


def fit_map(
    queries: Floats,
    passages: Floats,
    answers: Sequence[Ids],
    settings: FitSettings,
    *,
    normal: bool,
    seed: int = 0,
    report: Callable[[dict[str, float]], None] = lambda entry: None,
) -> Floats:
    """The map (dim, dim) by which rows of queries and passages are to be multiplied.

    `queries` (n, dim), `passages` (m, dim) float32; `answers`: of each query, at least one row of
    `passages`. `normal`: vectors have length 1, after the map too. Trained by InfoNCE; `report`
    gets {"step", "loss"} of each step. Equal seeds give equal maps.
    """
    asked, read = torch.from_numpy(queries), torch.from_numpy(passages)
    weight = torch.zeros(queries.shape[1], queries.shape[1], requires_grad=True)

    def scores(rows: Ids, columns: Ids) -> Tensor:
        return _mapped(asked[rows], weight, normal) @ _mapped(read[columns], weight, normal).T

    fit(weight, scores, answers, len(passages), settings, seed=seed, report=report)
    found: Floats = np.eye(len(weight), dtype=np.float32) + settings.share * weight.detach().numpy()
    return found.astype(np.float32)


def make_map(
    engine: Searching,
    work: Path,
    settings: FitSettings,
    topics: Mapping[str, str],
    answers: Mapping[str, Sequence[str]],
    *,
    seed: int,
    on_progress: Progress,
) -> int:
    """Fit a map for the index's dense model and leave it in the work folder; its steps.

    `topics`: id -> text of the queries that are learned from. `answers`: id -> documents. A model
    that is there is finished. Raises UnsupportedModel.
    """
    if (work / MODEL).is_dir():
        return settings.steps
    source = resolve(model_of(engine, "dense")).path
    layout = read_dense(source)
    known, places = passages_to_learn(engine, [answers[id] for id in topics], seed)
    rows = engine.snapshot.stored_rows("dense", known)
    asked = vectors(engine, list(topics.values()))
    assert isinstance(rows, np.ndarray)
    assert asked is not None
    with logged(work / LOG, settings.steps, on_progress) as report:
        matrix = fit_map(
            asked, rows, places, settings,
            normal=Normalize() in layout.steps[-1:], seed=seed, report=report,
        )  # fmt: skip
    with new_folder(work / MODEL) as folder, quiet():
        export_map(source, layout, matrix, folder)
    return settings.steps


def passages_to_learn(
    engine: Searching, answers: Sequence[Sequence[str]], seed: int
) -> tuple[Ids, list[Ids]]:
    """Passages to learn from: random ones and all of the answers; and each query's among them.

    `answers`: of each query, documents.
    """
    relevant = [passages_of(engine.snapshot, some) for some in answers]
    drawn = np.random.default_rng(seed).permutation(live_passages(engine.snapshot))[:DRAWN]
    known = np.unique(np.concatenate([drawn, *relevant]))
    return known, [np.searchsorted(known, some) for some in relevant]


def _mapped(vectors: Tensor, weight: Tensor, normal: bool) -> Tensor:
    moved = vectors + vectors @ weight
    return functional.normalize(moved, dim=1) if normal else moved
