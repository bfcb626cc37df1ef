"""Sparse vectors that take in what a dense model knows: a linear map from it to the vocabulary.

The map is fitted by ridge regression (Hoerl and Kennard 1970) on a corpus's own vectors, with no
labels: what the dense model finds alike gets like terms. That a linear map carries over what
models know is from Mikolov et al. 2013 (arXiv:1309.4168). A text's weights w become
(1 - s) w / |w| + s p / |p|, times |w|, where p is what the map predicts of its dense vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.types import TermVectors

from ..errors import UnsupportedModel
from .activations import Array
from .layout import digest_of
from .terms import Terms
from .weights import Weights, read_json, sense

FOLDER = "blend"  # in a sparse model's
CONFIG = "blend.json"
CONSTANT = 0.3  # what stands beside a dense vector of length 1, for the vocabulary's mean
STRENGTH = 0.1  # of the ridge, in mean squares of the inputs
MOST_EXTRA = 10_000
_TOGETHER = 256  # texts whose predictions are in memory at once: 31 MB of 30,522 terms


@dataclass(frozen=True)
class BlendLayout:
    """What a blend folder says: which dense model, and how much its predictions count.

    `dense_fingerprint`: of that model with texts as long as it reads. `document_share`,
    `query_share`: of the prediction, 0 to 1. `extra_query_terms`: a query gets so many terms
    more than the sparse model itself made; a document as many as it made.
    """

    path: Path
    dense: str
    dense_fingerprint: str
    document_share: float
    query_share: float
    extra_query_terms: int

    def digest(self) -> str:
        """Hash of all that its vectors depend on."""
        shares = (self.document_share, self.query_share, self.extra_query_terms)
        return digest_of(self.dense_fingerprint, shares, Weights(self.path).digest().hex())


def read_blend(folder: Path) -> BlendLayout | None:
    """What a sparse model's folder is to be blended with; None for a plain one.

    Raises UnsupportedModel.
    """
    path = folder / FOLDER / CONFIG
    if not path.is_file():
        return None
    config = read_json(path)

    def share(name: str) -> float:
        value = config.get(name)
        if not isinstance(value, int | float) or value is True or not 0 <= value <= 1:
            raise UnsupportedModel(f"{path} has {name} {value!r}; must be between 0 and 1")
        return float(value)

    def text(name: str) -> str:
        value = config.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise UnsupportedModel(f"{path} has {name} {value!r}; must be a text")
        return value

    extra = config.get("extra_query_terms")
    if type(extra) is not int or not 0 <= extra <= MOST_EXTRA:
        raise UnsupportedModel(
            f"{path} has extra_query_terms {extra!r}; must be between 0 and {MOST_EXTRA}"
        )
    return BlendLayout(
        path.parent, text("dense"), text("dense_fingerprint"),
        share("document_share"), share("query_share"), extra,
    )  # fmt: skip


def inputs(vectors: Array) -> Array:
    """Dense vectors (n, dim) with a constant beside, float32 (n, dim + 1).

    >>> inputs(np.array([[1.0]], np.float32)).tolist() == [[1.0, float(np.float32(0.3))]]
    True
    """
    constant = np.full((len(vectors), 1), CONSTANT, np.float32)
    return np.hstack([vectors.astype(np.float32, copy=False), constant])


def ridge(squares: NDArray[np.float64], products: Array, strength: float = STRENGTH) -> Array:
    """The map A (m, V) float32 that minimises |X A - Y|^2 + l |A|^2, l = strength tr(X'X) / m.

    `squares`: X'X (m, m). `products`: X'Y (m, V). Solved some columns at a time, so that V may
    be large.

    >>> ridge(np.eye(1), np.array([[2.2]], np.float32), 0.1).round(3).tolist()
    [[2.0]]
    """
    size = len(squares)
    penalty = strength * np.trace(squares) / size
    inverse = np.linalg.inv(squares + penalty * np.eye(size))
    result = np.empty(products.shape, np.float32)
    for start in range(0, products.shape[1], 4096):
        part = slice(start, start + 4096)
        result[:, part] = inverse @ products[:, part]
    return result


def predicted(vectors: Array, matrix: Array) -> Array:
    """What the map says of dense vectors: relu([e, 0.3] A), float32 (n, V)."""
    found: Array = np.maximum(inputs(vectors) @ matrix, np.float32(0))
    return found


def blended(terms: Terms, prediction: Array, share: float, extra: int) -> Terms:
    """A text's terms with those that are predicted of it, (V,) weights >= 0.

    Both count by direction, whatever their lengths; the blend is as long as the terms were. Of
    it stay the `extra` more than there were terms that are heaviest (ties by id). A text without
    terms gets none. Terms that were predicted only have the position -1.

    >>> made = blended(Terms(np.array([0]), np.array([5.0])), np.array([0.0, 1.0]), 0.2, 1)
    >>> made.ids.tolist(), made.weights.round(3).tolist()
    ([0, 1], [4.0, 1.0])
    """
    if not len(terms.ids):
        return terms
    length, reach = (math.sqrt(float(np.square(w, dtype=np.float64).sum()))
                     for w in (terms.weights, prediction))  # fmt: skip
    if not (math.isfinite(length) and math.isfinite(reach)):
        raise ValueError("it makes weights that are not numbers")
    mixed = np.zeros(max(len(prediction), int(terms.ids.max()) + 1), np.float32)
    if reach:
        mixed[: len(prediction)] = prediction * np.float32(share * length / reach)
    mixed[terms.ids] += terms.weights * np.float32(1 - share)
    ids = _heaviest(mixed, len(terms.ids) + extra)
    if terms.positions is None:
        return Terms(ids, mixed[ids])
    positions = np.full(len(mixed), -1, np.int32)
    positions[terms.ids] = terms.positions
    return Terms(ids, mixed[ids], positions[ids])


def _heaviest(weights: Array, k: int) -> NDArray[np.int32]:
    """The ids of the k largest weights above 0, ascending; of equal ones the first."""
    ids = np.flatnonzero(weights > 0).astype(np.int32)
    if k >= len(ids):
        return ids
    values = weights[ids]
    floor = np.partition(values, len(ids) - k)[len(ids) - k]
    keep = values > floor
    equal = np.flatnonzero(values == floor)[: k - int(np.count_nonzero(keep))]
    keep[equal] = True
    kept: NDArray[np.int32] = ids[keep]
    return kept


def stored_terms(rows: TermVectors, ids: NDArray[np.int32], power: float) -> list[Terms]:
    """Rows that were divided by a power < 1 of their length, as they were before.

    `ids`: of their columns. |w / |w|^p| is |w|^(1 - p).
    """
    found = []
    for start, stop in pairwise(rows.indptr.tolist()):
        weights = rows.values[start:stop]
        length = math.sqrt(float(np.square(weights, dtype=np.float64).sum()))
        scale = np.float32(length ** (power / (1 - power)) if length else 1)
        found.append(Terms(ids[rows.indices[start:stop]], weights * scale))
    return found


class Blend:
    """A blend folder at work.

    `size`: of the vocabulary. `max_tokens`: where the sparse model was told to cut texts, the
    dense one does too. `offered`: gives a dense encoder that is there already, or None; where it
    makes the same vectors it is used, and asked to remember the last of them, so that whoever
    wants them next has them for nothing. Making it reads nothing but the dense model's settings.

    Raises UnsupportedModel where the dense model is another than the blend was made with.
    """

    def __init__(
        self,
        layout: BlendLayout,
        size: int,
        device: str | None,
        max_tokens: int | None,
        offered: Callable[[], object] | None,
    ) -> None:
        from .dense import DenseEncoder

        self._layout = layout
        self._size = size
        dense = DenseEncoder(layout.dense, device)
        if dense.fingerprint != layout.dense_fingerprint:
            raise UnsupportedModel(
                f"{layout.path} was made with another dense model than {layout.dense!r} is now "
                f"(fingerprint {layout.dense_fingerprint[:12]}, now {dense.fingerprint[:12]}): "
                "bring that one back, or make the blend anew: `searchlib blend`"
            )
        if max_tokens is not None and max_tokens < dense.max_tokens:
            dense = DenseEncoder(layout.dense, device, max_tokens)
        shared = offered() if offered is not None else None
        if isinstance(shared, DenseEncoder) and shared.fingerprint == dense.fingerprint:
            shared.remember()
            dense = shared
        self._dense = dense

    @property
    def fingerprint(self) -> str:
        """Hash of what makes the dense vectors."""
        return self._dense.fingerprint

    def __call__(self, texts: Sequence[str], found: Sequence[Terms], query: bool) -> list[Terms]:
        """The terms that the sparse model found of each text, blended."""
        if not found:
            return []
        dense = self._dense
        vectors = dense.encode_query(texts) if query else dense.encode_document(texts)
        return self.of_vectors(vectors, found, query)

    def of_vectors(self, vectors: Array, found: Sequence[Terms], query: bool) -> list[Terms]:
        """The same where the texts' dense vectors (n, dim) are known."""
        share = self._layout.query_share if query else self._layout.document_share
        extra = self._layout.extra_query_terms if query else 0
        made: list[Terms] = []
        with sense(self._layout.path), np.errstate(over="ignore", invalid="ignore"):
            matrix = self._matrix
            if vectors.shape[1] + 1 != len(matrix):
                raise ValueError(f"a map of {len(matrix)} rows for {vectors.shape[1]} numbers")
            for start in range(0, len(found), _TOGETHER):
                rows = predicted(vectors[start : start + _TOGETHER], matrix)
                some = found[start : start + _TOGETHER]
                made += [blended(t, row, share, extra) for t, row in zip(some, rows, strict=True)]
        return made

    @cached_property
    def _matrix(self) -> Array:
        matrix: Array = Weights(self._layout.path)["weight"]
        if matrix.ndim != 2 or matrix.shape[1] != self._size or matrix.dtype.kind != "f":
            raise ValueError(f"a map of {matrix.shape} for a vocabulary of {self._size}")
        if not np.isfinite(matrix).all():
            raise ValueError("its map holds what is not a number")
        return matrix.astype(np.float32, copy=False)
