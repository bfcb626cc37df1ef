"""Distillation into static vectors: one vector a token, so that their means resemble a model's.

model2vec (Tulkens and van Dongen 2024) passes the vocabulary alone through the model, and weights
the vectors by frequency. Here that is where a ridge regression begins: from the corpus's passages
as bags of tokens to the vectors that the model gives them. So a token's vector is what its
presence says in this corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..encoders.pooling import normalize
from ..errors import BadInput
from ..indexing import no_progress
from ..protocols import Progress
from .apart import held_apart

Array = NDArray[np.float32]
Csr = Any  # scipy.sparse.csr_matrix

SAMPLE = 10_000
"""Passages that are fitted. More cost time and gain less and less."""
SIF = 1e-3  # a of Arora et al. 2017
RIDGE = 0.1  # of the mean squared length of a bag
STEPS = 60
ENOUGH = 1e-6  # of the gradient's first squared length
HELD_OUT = 0.1  # of the documents
FEWEST = 10  # distinct texts that something is held out of
MANY = 100  # distinct texts of which the nearest ten say something
_BATCH = 256


class Vectorizer(Protocol):
    """What is distilled: a dense encoder."""

    def encode_document(self, texts: Sequence[str]) -> Array: ...


@dataclass(frozen=True)
class Sample:
    """Passages to fit: their texts, and their vectors as far as they are known already.

    `documents` (n,): which one each passage is of; None: each is one.
    """

    texts: list[str]
    vectors: Array | None = None
    documents: NDArray[np.int64] | None = None

    def encoded(self, teacher: Vectorizer, on_progress: Progress = no_progress) -> Sample:
        """The same with vectors."""
        if self.vectors is not None:
            return self
        return replace(self, vectors=encode_all(teacher, self.texts, on_progress))


@dataclass(frozen=True)
class Fit:
    """Vectors of tokens, and how near they come to the model on passages that were held out.

    Figures are None where there are too few distinct texts for them.
    """

    vectors: Array  # (tokens, dimension)
    cosine: float | None  # mean, of the held-out passages' centred vectors
    neighbours: float | None  # share of the model's 10 nearest that are among ours


def chosen(texts: Iterable[str], size: int, seed: int) -> list[str]:
    """`size` of the texts, each as likely as any other, in their order (Vitter 1985, R).

    Empty ones are never chosen. Raises BadInput where fewer than 10 are left.
    """
    rng = random.Random(seed)
    kept: list[tuple[int, str]] = []
    filled = (text for text in texts if text.strip())
    for number, text in enumerate(filled):
        if len(kept) < size:
            kept.append((number, text))
        elif (place := rng.randrange(number + 1)) < size:
            kept[place] = (number, text)
    if len(kept) < 10:
        raise BadInput(f"{len(kept)} texts that are not empty; 10 are the least to learn from")
    return [text for _, text in sorted(kept)]


def encode_all(teacher: Vectorizer, texts: Sequence[str], on_progress: Progress) -> Array:
    """The model's vectors of all texts, (n, dimension)."""
    parts = []
    for start in range(0, len(texts), _BATCH):
        parts.append(teacher.encode_document(texts[start : start + _BATCH]))
        on_progress(min(start + _BATCH, len(texts)), len(texts))
    return np.concatenate(parts)


def bags(tokens: Sequence[NDArray[np.int32]], size: int) -> Csr:
    """Texts as bags: (n, size) float32, a row the shares of each token in one text."""
    import scipy.sparse as sp

    lengths = np.array([len(ids) for ids in tokens])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    made = sp.csr_matrix((shares, np.concatenate(tokens), indptr), shape=(len(tokens), size))
    made.sum_duplicates()
    return made


def sif(frequency: NDArray[Any], a: float = SIF) -> Array:
    """a / (a + p(token)), (tokens,): common words count less (Arora, Liang and Ma, ICLR 2017).

    Tokens that never occur count as half an occurrence.
    """
    counts = np.asarray(frequency, np.float64) + 0.5
    weights: Array = (a / (a + counts / counts.sum())).astype(np.float32)
    return weights


def prior(alone: Array, frequency: NDArray[Any]) -> Array:
    """Vectors of tokens from those they have alone: their mean in the corpus taken off, by SIF."""
    share = (np.asarray(frequency) / max(float(np.sum(frequency)), 1.0)).astype(np.float32)
    made: Array = (alone - share @ alone) * sif(frequency)[:, None]
    return made


def ridge(rows: Csr, targets: Array, start: Array, strength: float = RIDGE) -> Array:
    """E that minimises |rows E - targets|^2 + l |E - s start|^2, by conjugate gradients.

    s scales `start` to fit best; l is `strength` times the rows' mean squared length: the
    larger, the nearer to `start`. All columns are solved at once (Hestenes and Stiefel 1952).
    """
    mean_square = float(rows.multiply(rows).sum()) / rows.shape[0]
    penalty = np.float32(strength * mean_square)
    made = rows @ start
    scale = np.float32((made * targets).sum() / max(float((made * made).sum()), 1e-12))
    start, transposed = start * scale, rows.T.tocsr()
    change = np.zeros_like(start)
    rest = transposed @ (targets - rows @ start)
    step, size = rest.copy(), (rest * rest).sum(axis=0)
    first = size.max()
    for _ in range(STEPS):
        if size.max() <= ENOUGH * first:
            break
        image = transposed @ (rows @ step) + penalty * step
        length = size / np.maximum((step * image).sum(axis=0), 1e-30)
        change += length * step
        rest -= length * image
        before, size = size, (rest * rest).sum(axis=0)
        step = rest + (size / np.maximum(before, 1e-30)) * step
    found: Array = start + change
    return found


def fit(
    rows: Csr,
    targets: Array,
    start: Array,
    seed: int,
    documents: NDArray[np.int64] | None = None,
    *,
    dimension: int | None = None,
) -> Fit:
    """Fitted vectors of tokens; how near they come is seen on a tenth of the documents, fitted
    without it first, each text once.

    `documents` (n,): which one each row is of; None: each is one. `dimension`: as many numbers a
    vector has (`reduced`), in the figures too; None: as many as the targets'.
    """
    centred = targets - targets.mean(axis=0)
    used = np.flatnonzero(np.diff(rows.tocsc().indptr))  # the others stay as scaled by the rest
    found = _fitted(rows, centred, start, used)
    if dimension is not None:
        found = reduced(found, targets, dimension)
    some = _distinct(rows)
    held = held_apart(some if documents is None else documents[some], HELD_OUT, seed)
    if len(some) < FEWEST or held.all():
        return Fit(found, None, None)
    kept = some[~held]
    tried = _fitted(rows[kept], centred[kept], start, used)
    if dimension is not None:
        directions = _directions(targets, dimension)
        # subtle: among the model's own numbers again, or they could not be compared
        tried = np.asarray(tried @ directions @ directions.T, np.float32)
    cosine, neighbours = nearness(
        normalize(rows[some] @ tried), normalize(centred[some]), np.flatnonzero(held)
    )
    return Fit(found, cosine, neighbours if len(some) >= MANY else None)


def _distinct(rows: Csr) -> NDArray[np.int64]:
    """The first row of each bag: what is held out must not be what was learned from."""
    first: dict[tuple[bytes, bytes], int] = {}
    for row in range(rows.shape[0]):
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        first.setdefault((rows.indices[part].tobytes(), rows.data[part].tobytes()), row)
    return np.array(list(first.values()), np.int64)


def nearness(ours: Array, theirs: Array, rows: NDArray[np.int64]) -> tuple[float, float]:
    """Mean cosine of some rows, and the share of their 10 nearest rows that are the same."""
    cosine = float((ours[rows] * theirs[rows]).sum(axis=1).mean())
    k = min(10, len(ours) - 1)
    shared = 0
    for row in rows.tolist():
        nearest = []
        for vectors in (ours, theirs):
            scores = vectors @ vectors[row]
            scores[row] = -np.inf
            nearest.append(set(np.argpartition(-scores, k - 1)[:k].tolist()))
        shared += len(nearest[0] & nearest[1])
    return cosine, shared / (k * len(rows))


def reduced(vectors: Array, targets: Array, dimension: int) -> Array:
    """Vectors in the `dimension` directions in which the model's differ most (PCA)."""
    if dimension >= vectors.shape[1]:
        return vectors
    made: Array = vectors @ _directions(targets, dimension)
    return made


def _directions(targets: Array, dimension: int) -> Array:
    """(numbers, dimension): of length 1, those in which vectors differ most."""
    centred = targets - targets.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    made: Array = directions[:, ::-1][:, :dimension].astype(np.float32)
    return made


def _fitted(rows: Csr, targets: Array, start: Array, used: NDArray[np.int64]) -> Array:
    """`ridge` over the tokens that occur; those that don't are scaled like them."""
    found = ridge(rows[:, used], targets, start[used])
    made = rows @ start
    scale = np.float32((made * targets).sum() / max(float((made * made).sum()), 1e-12))
    vectors: Array = start * scale
    vectors[used] = found
    return vectors
