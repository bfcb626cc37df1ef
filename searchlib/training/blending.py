"""A sparse model that takes in what the index's dense model knows, fitted without labels.

Rows are read back from an index, so that no model runs: seconds for a corpus that is indexed. Where
the index has a blend already, the sparse model that this one blends is run anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.types import TermVectors

from ..encoders.activations import Array
from ..encoders.blend import PRIOR, STRENGTH, inputs, predicted, ridge
from ..encoders.blend_layout import MOST_EXTRA, BlendLayout, base_of
from ..encoders.dense import DenseEncoder
from ..encoders.models import resolve
from ..encoders.sparse import SparseEncoder
from ..encoders.sparse_layout import read_sparse
from ..encoders.ternary import Ternary
from ..errors import BadInput, check_seed
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from .apart import grouped, held_apart
from .blend_folder import Report, write_blend
from .corpus import index_encoder
from .new_folder import must_be_free
from .texts import PassageTexts, live_passages

PASSAGES = 50_000
"""Passages that are learned from, at most."""
DOCUMENT_SHARE, QUERY_SHARE, EXTRA = 0.4, 0.3, 20
"""What held over seven collections (benchmarks/blending.py)."""
HELD_OUT = 0.1  # of the documents
_FEWEST = 10  # passages
_READ = 8192  # rows that are read back together: each reading goes through all postings
_ENCODE = 512  # passages that are encoded together
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

    def fit(self, prior: Array | None = None) -> Ternary:
        """The map, (dimension + 1, size), near `prior` where the passages say little."""
        strength = STRENGTH * float(np.trace(self.squares)) / len(self.squares)
        penalty = strength if prior is None else PRIOR
        return Ternary.of(ridge(self.squares, self.products, penalty, prior))


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
    any_version: bool = False,
    on_progress: Progress = no_progress,
) -> Report:
    """Write the index's sparse model, blended with what its dense model knows, to a new folder.

    `passages`: so many are learned from at most, drawn by `seed`; first without a tenth of the
    documents, on which that fit is tried, then with them. `any_version`: the folder names the two
    models without their hashes, so that other versions of them serve.

    Raises BadInput where `folder` is there, a number makes no sense, or the index has too little
    to learn from; ModelMismatch, ModelNotFound, UnsupportedModel.
    """
    started = time.monotonic()
    _check(document_share, query_share, extra_query_terms, passages)
    check_seed(seed)
    must_be_free(folder)
    pair = index_encoders(engine)
    some = drawn_passages(engine, passages, seed)
    held = _held_out(engine, some, seed)
    blocks = Blocks(engine, pair)
    sums = Sums(blocks.dimension, pair.sparse.tokenizer.size)
    total = len(some)
    done = 0
    for vectors, terms, ids in blocks.read(some[~held]):
        sums.add(vectors, terms, ids)
        done += len(terms)
        on_progress(done, total)
    prior = pair.prior.matrix() if pair.prior is not None else None
    map = sums.fit(prior)
    mean = sums.total.astype(np.float32)
    trial: list[NDArray[np.float64]] = []
    for vectors, terms, ids in blocks.read(some[held]):
        trial.append(_cosines(vectors, terms, ids, map, mean))
        sums.add(vectors, terms, ids)
        done += len(terms)
        on_progress(done, total)
    cosine, baseline = np.concatenate(trial).mean(axis=0).tolist()
    hashes = (None, None) if any_version else (pair.sparse_digest, pair.dense.fingerprint)
    layout = BlendLayout(
        folder, lasting_name(pair.sparse.name), hashes[0], lasting_name(pair.dense.name),
        hashes[1], document_share, query_share, extra_query_terms,
    )  # fmt: skip
    report = Report(
        str(folder), layout.sparse, layout.dense, total, int(held.sum()), cosine, baseline,
        pair.name if prior is not None else None, seed, round(time.monotonic() - started, 1),
    )  # fmt: skip
    write_blend(layout, sums.fit(prior), report, pair.gains)
    return report


def _check(document_share: float, query_share: float, extra: int, passages: int) -> None:
    for name, share in (("document share", document_share), ("query share", query_share)):
        if not 0 <= share <= 1:
            raise BadInput(f"illegal {name}: {share}, must be between 0 and 1")
    if not 0 <= extra <= MOST_EXTRA:
        raise BadInput(f"illegal extra query terms: {extra}, must be between 0 and {MOST_EXTRA}")
    if passages < _FEWEST:
        raise BadInput(f"illegal number of passages: {passages}, must be {_FEWEST} or more")


@dataclass(frozen=True)
class Pair:
    """The two models that a blend is of.

    `name`: of the index's sparse model. `sparse`: that one, or what it blends. `sparse_digest`:
    of its files. `dense`: with its whole window, as a blend's folder says. `stored`: whether
    the index has the rows of `sparse` itself. `prior`: the map of
    the index's sparse model, if it is a blend of the two. `gains`: the folder of factors of query
    terms that it has besides.
    """

    name: str
    sparse: SparseEncoder
    sparse_digest: str
    dense: DenseEncoder
    stored: bool
    prior: Ternary | None
    gains: Path | None


def index_encoders(engine: Searching) -> Pair:
    """The index's models. Raises BadInput where one is lacking; as `index_encoder`."""
    for name in ("sparse", "dense"):
        if name not in engine.snapshot.fields:
            raise BadInput(
                f"{engine.path} has no {name} vectors; a blend learns from both: add them with "
                f"`searchlib reencode INDEX --{name}-model MODEL`"
            )
    sparse, dense = (index_encoder(engine, name) for name in ("sparse", "dense"))
    assert isinstance(sparse, SparseEncoder)
    assert isinstance(dense, DenseEncoder)
    layout = read_sparse(sparse.folder.path)
    digest = layout.plain().digest()
    whole = DenseEncoder(dense.name)
    if layout.blend is None or sparse.blend is None:
        return Pair(sparse.name, sparse, digest, whole, True, None, None)
    same = sparse.blend.fingerprint in (dense.fingerprint, whole.fingerprint)
    base = base_of(sparse.folder.path)
    return Pair(
        sparse.name, sparse.plain(layout.blend.sparse), digest, whole, False,
        sparse.blend.map if same else None, None if layout.gains == base else layout.gains,
    )  # fmt: skip


def lasting_name(model: str) -> str:
    """A model's name as a blend keeps it: a folder's is absolute."""
    found = resolve(model)
    return str(found.path) if found.source == "folder" else model


def drawn_passages(engine: Searching, most: int, seed: int) -> NDArray[np.int64]:
    """Passages of the index, ascending, each as likely as any other."""
    every = live_passages(engine.snapshot)
    if len(every) < _FEWEST:
        raise BadInput(
            f"{engine.path} has {len(every)} passages; {_FEWEST} are the least to learn of"
        )
    drawn = random.Random(seed).sample(range(len(every)), min(most, len(every)))
    return np.sort(every[drawn])


def _held_out(engine: Searching, passages: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which passages are of the documents held out: whole documents, at least one, never all.

    Copies of a passage are held out with the first of them.
    """
    parts = (passages[start : start + _READ] for start in range(0, len(passages), _READ))
    texts = (text for part in parts for text in PassageTexts(engine.snapshot)(part))
    groups = grouped(texts, engine.snapshot.documents_of(passages).tolist())
    if (groups == groups[0]).all():
        raise BadInput(
            f"{engine.path} has one document, or copies of one; a blend is tried on others: give "
            "it more"
        )
    return held_apart(groups, HELD_OUT, seed)


class Blocks:
    """An index's passages, some thousand at a time: dense vectors, terms, and the terms' ids.

    Rows are as they are stored; where the index's sparse model is a blend, terms are made anew by
    the model that it blends.
    """

    def __init__(self, engine: Searching, pair: Pair) -> None:
        self._snapshot = engine.snapshot
        self._sparse = pair.sparse
        self._stored = pair.stored
        tokenizer = pair.sparse.tokenizer
        self._ids = {tokenizer.term(id): id for id in range(tokenizer.size)}
        found = self._snapshot.stored_rows("dense", np.zeros(0, np.int64))
        assert isinstance(found, np.ndarray)
        self.dimension = found.shape[1]

    def read(
        self, passages: NDArray[np.int64]
    ) -> Iterator[tuple[Array, TermVectors, NDArray[np.int32]]]:
        """Of passages (n,), each named once."""
        at_once = _READ if self._stored else _ENCODE
        for start in range(0, len(passages), at_once):
            some = passages[start : start + at_once]
            vectors = self._snapshot.stored_rows("dense", some)
            terms = self._terms(some)
            assert isinstance(vectors, np.ndarray)
            ids = np.fromiter((self._ids[term] for term in terms.terms), np.int32)
            yield vectors, terms, ids

    def _terms(self, passages: NDArray[np.int64]) -> TermVectors:
        if not self._stored:
            return self._sparse.encode_document(PassageTexts(self._snapshot)(passages))
        terms = self._snapshot.stored_rows("sparse", passages)
        assert isinstance(terms, TermVectors)
        return terms


def _cosines(
    vectors: Array, terms: TermVectors, ids: NDArray[np.int32], map: Ternary, mean: Array
) -> NDArray[np.float64]:
    """(n, 2): of each row with terms, the cosine to its prediction and to the mean vector."""
    values = directions(terms)
    result = []
    scaled_mean = mean / max(float(np.linalg.norm(mean)), 1e-30)
    for start in range(0, len(terms), _BLOCK):
        predictions = predicted(vectors[start : start + _BLOCK], map)
        for row, prediction in enumerate(predictions, start):
            part = slice(int(terms.indptr[row]), int(terms.indptr[row + 1]))
            own, at = values[part], ids[terms.indices[part]]
            length = max(float(np.linalg.norm(prediction)), 1e-30)
            if len(own):
                result.append((float(own @ prediction[at]) / length, float(own @ scaled_mean[at])))
    return np.array(result, np.float64).reshape(-1, 2)
