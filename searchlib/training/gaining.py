"""Fine-tuning a sparse model by a factor of each query term: nothing is encoded, it takes seconds.

Scores are sums of products of a query's and a document's terms; what is learned is how much each
term of a query says here. Documents keep their vectors. Term weights learned from relevance are
as old as Robertson and Sparck Jones 1976 (doi:10.1002/asi.4630270302); here by InfoNCE.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from indexes.types import TermVectors

from ..encoders.activations import Array
from ..encoders.gains import FOLDER, TENSOR
from ..encoders.models import resolve
from ..encoders.sparse import SparseEncoder
from ..protocols import Progress
from ..retrievers import FieldRetriever
from ..searching import Searching
from . import losses
from .export import copy_model
from .fitting import FitSettings, fit_batch, scale_of
from .log import TrainingLog
from .loop import rate
from .mapping import drawn_passages
from .new_folder import new_folder
from .publishing import LOG, MODEL
from .source import model_of

Ids = NDArray[np.int64]

GAINS = FitSettings(learning_rate=0.1, share=0.5)
"""What held over several collections (benchmarks/adaptation.md)."""


def fit_gains(
    queries: TermVectors,
    passages: TermVectors,
    answers: Sequence[Ids],
    settings: FitSettings,
    *,
    seed: int = 0,
    report: Callable[[dict[str, float]], None] = lambda entry: None,
) -> dict[str, float]:
    """A factor > 0 of each term that queries and passages share.

    `answers`: of each query, at least one row of `passages`. `report` gets {"step", "loss"} of
    each step. Equal seeds give equal factors.
    """
    import scipy.sparse as sp

    columns = {term: i for i, term in enumerate(passages.terms)}
    places = np.array([columns.get(term, -1) for term in queries.terms], np.int64)
    read = sp.csr_matrix(
        (passages.values, passages.indices, passages.indptr), (len(passages), len(columns))
    )
    logs = torch.zeros(len(queries.terms), requires_grad=True)
    optimizer = torch.optim.Adam([logs], lr=settings.learning_rate)
    asked = sp.csr_matrix((queries.values, queries.indices, queries.indptr),
                          (len(queries), len(places)))  # fmt: skip
    scale = 0.0
    for step in range(settings.steps):
        rows, drawn, positives = fit_batch(answers, len(passages), settings, (seed, step))
        some = asked[rows]
        terms = np.unique(some.indices)
        terms = terms[places[terms] >= 0]
        weights = torch.from_numpy(some[:, terms].toarray().astype(np.float32))
        found = torch.from_numpy(read[drawn][:, places[terms]].toarray().astype(np.float32))
        scores = (weights * logs[torch.from_numpy(terms.astype(np.int64))].exp()) @ found.T
        scale = scale or scale_of(scores, settings)
        loss = losses.contrast(scores * scale, torch.from_numpy(positives))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(step, settings.steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report({"step": step + 1, "loss": float(loss.detach())})
    factors = torch.exp(settings.share * logs.detach()).tolist()
    return dict(zip(queries.terms, factors, strict=True))


def make_gains(
    engine: Searching,
    work: Path,
    settings: FitSettings,
    topics: Mapping[str, str],
    answers: Mapping[str, Sequence[str]],
    *,
    seed: int,
    on_progress: Progress,
) -> int:
    """Fit factors for the index's sparse model and leave it with them in the work folder; steps.

    Arguments as of `mapping.make_map`. A model that has factors gets their products.
    """
    if (work / MODEL).is_dir():
        return settings.steps
    source = resolve(model_of(engine, "sparse")).path
    known, places = drawn_passages(engine, [answers[id] for id in topics], seed)
    rows = engine.snapshot.stored_rows("sparse", known)
    scorer = engine.retriever("sparse")
    assert isinstance(scorer, FieldRetriever)
    encoder = scorer.queries.encoder
    assert isinstance(encoder, SparseEncoder)
    asked = encoder.encode_query(list(topics.values()))
    weights = engine.snapshot.query_weights("sparse", asked)
    asked = TermVectors(asked.terms, asked.indptr, asked.indices, weights)
    assert isinstance(rows, TermVectors)
    with TrainingLog(work / LOG) as log:

        def report(entry: dict[str, float]) -> None:
            log.write(entry)
            on_progress(int(entry["step"]), settings.steps, "training")

        factors = fit_gains(asked, rows, places, settings, seed=seed, report=report)
    before = encoder.gains
    made = np.ones(encoder.tokenizer.size, np.float32) if before is None else before.copy()
    for term, factor in factors.items():
        if (id := encoder.tokenizer.id(term)) is not None:
            made[id] *= factor
    with new_folder(work / MODEL) as folder:
        write_gains(source, made, folder)
    return settings.steps


def write_gains(source: Path, gains: Array, folder: Path) -> None:
    """Fill `folder` with the model of `source` and these factors (V,)."""
    copy_model(source, folder)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).mkdir()
    save_file({TENSOR: gains}, folder / FOLDER / "model.safetensors")
