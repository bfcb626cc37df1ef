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
from .export import copy_model
from .fitting import FitSettings, fit
from .log import logged
from .mapping import passages_to_learn
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
    asked = sp.csr_matrix((queries.values, queries.indices, queries.indptr),
                          (len(queries), len(places)))  # fmt: skip

    def scores(rows: Ids, drawn: Ids) -> torch.Tensor:
        some = asked[rows]
        terms = np.unique(some.indices)
        terms = terms[places[terms] >= 0]
        weights = torch.from_numpy(some[:, terms].toarray().astype(np.float32))
        found = torch.from_numpy(read[drawn][:, places[terms]].toarray().astype(np.float32))
        return (weights * logs[torch.from_numpy(terms.astype(np.int64))].exp()) @ found.T

    fit(logs, scores, answers, len(passages), settings, seed=seed, report=report)
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
    known, places = passages_to_learn(engine, [answers[id] for id in topics], seed)
    rows = engine.snapshot.stored_rows("sparse", known)
    scorer = engine.retriever("sparse")
    assert isinstance(scorer, FieldRetriever)
    encoder = scorer.queries.encoder
    assert isinstance(encoder, SparseEncoder)
    asked = encoder.encode_query(list(topics.values()))
    weights = engine.snapshot.query_weights("sparse", asked)
    asked = TermVectors(asked.terms, asked.indptr, asked.indices, weights)
    assert isinstance(rows, TermVectors)
    with logged(work / LOG, settings.steps, on_progress) as report:
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
