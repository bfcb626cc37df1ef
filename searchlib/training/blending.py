"""A sparse model that takes in what the index's dense model knows, fitted without labels.

Rows are read back from an index, so that no model runs: seconds for a corpus that is indexed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.types import TermVectors

from ..encoders.activations import Array
from ..encoders.blend import MOST_EXTRA, inputs, predicted, ridge
from ..encoders.dense import DenseEncoder
from ..encoders.sparse import SparseEncoder
from ..encoders.tokenizing import Tokenizer
from ..errors import BadInput
from ..indexing import no_progress
from ..protocols import Progress
from ..representations import check_fingerprint, make_encoder
from ..searching import Searching
from .blend_folder import Report, write_blend

PASSAGES = 50_000
"""Passages that are learned from, at most."""
DOCUMENT_SHARE, QUERY_SHARE, EXTRA = 0.4, 0.3, 20
"""What held over seven collections (benchmarks/blending.py)."""
HELD_OUT = 0.1  # of the documents
_FEWEST = 10  # passages
_READ = 8192  # rows that are read back together: each reading goes through all postings
_BLOCK = 512


class Sums:
    """X'X and X'Y over blocks of passages, of X = [dense vector, 0.3], Y the terms' directions.

    `dimension`: of the dense vectors. `size`: of the vocabulary.
    """

    def __init__(self, dimension: int, size: int) -> None:
        self.squares = np.zeros((dimension + 1, dimension + 1))
        self.products = np.zeros((dimension + 1, size), np.float32)
        self.total = np.zeros(size)  # of Y

    def add(self, vectors: Array, terms: TermVectors, ids: NDArray[np.int32]) -> None:
        """Rows of passages: dense (n, dim), and terms whose columns have these ids."""
        import scipy.sparse as sp

        x = inputs(vectors).astype(np.float64)
        self.squares += x.T @ x
        values = directions(terms)
        shape = (len(terms), self.products.shape[1])
        y = sp.csr_matrix((values, ids[terms.indices], terms.indptr), shape=shape)
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            self.products += (y[part].T @ x[part].astype(np.float32)).T
        self.total += np.asarray(y.sum(axis=0)).ravel()

    def fit(self) -> Array:
        """The map, float32 (dimension + 1, size)."""
        return ridge(self.squares, self.products)


def directions(terms: TermVectors) -> Array:
    """The values of rows scaled to length 1; those of an empty row are none.

    >>> directions(TermVectors.of([{"a": 3.0, "b": 4.0}, {}])).round(3).tolist()
    [0.6, 0.8]
    """
    counts = np.diff(terms.indptr)
    rows = np.repeat(np.arange(len(terms)), counts)
    squares = np.bincount(rows, terms.values.astype(np.float64) ** 2, minlength=len(terms))
    lengths = np.sqrt(squares)[rows]
    result: Array = (terms.values / np.maximum(lengths, 1e-30)).astype(np.float32)
    return result


def fit_blend(
    engine: Searching,
    folder: Path,
    *,
    document_share: float = DOCUMENT_SHARE,
    query_share: float = QUERY_SHARE,
    extra_query_terms: int = EXTRA,
    passages: int = PASSAGES,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Report:
    """Write the index's sparse model, blended with what its dense model knows, to a new folder.

    `passages`: so many are learned from at most, drawn by `seed`; first without a tenth of the
    documents, on which that fit is tried, then with them.

    Raises BadInput where `folder` is there, a number makes no sense, or the index has too little
    to learn from; ModelMismatch, ModelNotFound, UnsupportedModel.
    """
    started = time.monotonic()
    _check(folder, document_share, query_share, extra_query_terms, passages)
    sparse, dense = index_encoders(engine)
    some = drawn_passages(engine, passages, seed)
    held = _held_out(engine, some, seed)
    blocks = Blocks(engine, sparse.tokenizer)
    sums = Sums(blocks.dimension, sparse.tokenizer.size)
    total = len(some)
    done = 0
    for vectors, terms, ids in blocks.read(some[~held]):
        sums.add(vectors, terms, ids)
        done += len(terms)
        on_progress(done, total)
    matrix = sums.fit()
    mean = sums.total.astype(np.float32)
    trial: list[NDArray[np.float64]] = []
    for vectors, terms, ids in blocks.read(some[held]):
        trial.append(_cosines(vectors, terms, ids, matrix, mean))
        sums.add(vectors, terms, ids)
    cosine, baseline = np.concatenate(trial).mean(axis=0).tolist()
    on_progress(total, total)
    assert engine.settings.sparse_model is not None
    assert engine.settings.dense_model is not None
    report = Report(
        str(folder), engine.settings.sparse_model, engine.settings.dense_model, total,
        int(held.sum()), cosine, baseline, document_share, query_share, extra_query_terms, seed,
        round(time.monotonic() - started, 1),
    )  # fmt: skip
    write_blend(folder, sums.fit(), dense.fingerprint, report)
    return report


def _check(
    folder: Path, document_share: float, query_share: float, extra: int, passages: int
) -> None:
    for name, share in (("document share", document_share), ("query share", query_share)):
        if not 0 <= share <= 1:
            raise BadInput(f"illegal {name}: {share}, must be between 0 and 1")
    if not 0 <= extra <= MOST_EXTRA:
        raise BadInput(f"illegal extra query terms: {extra}, must be between 0 and {MOST_EXTRA}")
    if passages < _FEWEST:
        raise BadInput(f"illegal number of passages: {passages}, must be {_FEWEST} or more")
    if folder.exists():
        raise BadInput(f"{folder} is there already; name a new folder")
    if not folder.absolute().parent.is_dir():
        raise BadInput(f"{folder.absolute().parent} is no folder; make it first")


def index_encoders(engine: Searching) -> tuple[SparseEncoder, DenseEncoder]:
    """The index's encoders, if they still are what made its rows."""
    for name in ("sparse", "dense"):
        if name not in engine.snapshot.fields:
            raise BadInput(
                f"{engine.path} has no {name} vectors; a blend learns from both: add them with "
                f"`searchlib reencode INDEX --{name}-model MODEL`"
            )
    found = []
    for name in ("sparse", "dense"):
        encoder = make_encoder(name, engine.settings, None)
        recorded = engine.snapshot.fields[name].encoder
        check_fingerprint(name, recorded["fingerprint"], encoder, recorded["model"])
        found.append(encoder)
    sparse, dense = found
    assert isinstance(sparse, SparseEncoder)
    assert isinstance(dense, DenseEncoder)
    if sparse.blend is not None:
        raise BadInput(
            f"{engine.path} has a blend already ({sparse.name}); re-encode it with the plain model "
            "first: `searchlib reencode INDEX --sparse-model MODEL`"
        )
    return sparse, DenseEncoder(dense.name)  # subtle: with its whole window, as blend.json says


def drawn_passages(engine: Searching, most: int, seed: int) -> NDArray[np.int64]:
    """Passages of the index, ascending, each as likely as any other."""
    snapshot = engine.snapshot
    firsts, counts = snapshot.passages_of_each(snapshot.lookup(list(snapshot.all_ids())))
    starts = np.repeat(firsts - np.cumsum(counts) + counts, counts)
    every = starts + np.arange(int(counts.sum()))
    if len(every) < _FEWEST:
        raise BadInput(
            f"{engine.path} has {len(every)} passages; {_FEWEST} are the least to learn of"
        )
    drawn = random.Random(seed).sample(range(len(every)), min(most, len(every)))
    return np.sort(every[drawn])


def _held_out(engine: Searching, passages: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which passages are of the documents held out: whole documents, at least one, never all."""
    owners = engine.snapshot.documents_of(passages)
    documents = np.unique(owners)
    if len(documents) < 2:
        raise BadInput(f"{engine.path} has one document; a blend is tried on others: give it more")
    count = max(1, int(len(documents) * HELD_OUT))
    held = random.Random(seed).sample(documents.tolist(), count)
    return np.isin(owners, held)


class Blocks:
    """An index's passages, some thousand at a time: dense vectors, terms, and the terms' ids."""

    def __init__(self, engine: Searching, tokenizer: Tokenizer) -> None:
        self._snapshot = engine.snapshot
        self._ids = {tokenizer.term(id): id for id in range(tokenizer.size)}
        found = self._snapshot.stored_rows("dense", np.zeros(0, np.int64))
        assert isinstance(found, np.ndarray)
        self.dimension = found.shape[1]

    def read(
        self, passages: NDArray[np.int64]
    ) -> Iterator[tuple[Array, TermVectors, NDArray[np.int32]]]:
        """Of passages (n,), each named once."""
        for start in range(0, len(passages), _READ):
            some = passages[start : start + _READ]
            vectors = self._snapshot.stored_rows("dense", some)
            terms = self._snapshot.stored_rows("sparse", some)
            assert isinstance(vectors, np.ndarray)
            assert isinstance(terms, TermVectors)
            ids = np.fromiter((self._ids[term] for term in terms.terms), np.int32)
            yield vectors, terms, ids


def _cosines(
    vectors: Array, terms: TermVectors, ids: NDArray[np.int32], matrix: Array, mean: Array
) -> NDArray[np.float64]:
    """(n, 2): of each row with terms, the cosine to its prediction and to the mean vector."""
    values = directions(terms)
    result = []
    scaled_mean = mean / max(float(np.linalg.norm(mean)), 1e-30)
    for start in range(0, len(terms), _BLOCK):
        predictions = predicted(vectors[start : start + _BLOCK], matrix)
        for row, prediction in enumerate(predictions, start):
            part = slice(int(terms.indptr[row]), int(terms.indptr[row + 1]))
            own, at = values[part], ids[terms.indices[part]]
            length = max(float(np.linalg.norm(prediction)), 1e-30)
            if len(own):
                result.append((float(own @ prediction[at]) / length, float(own @ scaled_mean[at])))
    return np.array(result, np.float64).reshape(-1, 2)
