"""Sparse vectors that take in what a dense model knows: a linear map from it to the vocabulary.

The map is fitted by ridge regression (Hoerl and Kennard 1970) on a corpus's own vectors, with no
labels: what the dense model finds alike gets like terms. That a linear map carries over what
models know is from Mikolov et al. 2013 (arXiv:1309.4168). A text's weights w become
(1 - s) w / |w| + s p / |p|, times |w|, where p is what the map predicts of its dense vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.threads import on_threads
from indexes.types import TermVectors

from ..errors import UnsupportedModel
from .activations import Array
from .backbone import threads
from .blend_layout import BlendLayout
from .terms import Terms
from .ternary import Ternary
from .weights import Weights, sense

if TYPE_CHECKING:
    from .blend_device import DeviceMap

CONSTANT = 0.3  # what stands beside a dense vector of length 1, for the vocabulary's mean
STRENGTH = 0.1  # of the ridge, in mean squares of the inputs
PRIOR = 0.5  # the same where there is a map to begin with, in squares of the inputs
_GROUP = 64  # weights, of which the largest one is looked at first
_TOGETHER = 16  # texts whose predictions are in memory at once: 2 MB of 30,522 terms


def inputs(vectors: Array) -> Array:
    """Dense vectors (n, dim) with a constant beside, float32 (n, dim + 1).

    >>> inputs(np.array([[1.0]], np.float32)).tolist() == [[1.0, float(np.float32(0.3))]]
    True
    """
    constant = np.full((len(vectors), 1), CONSTANT, np.float32)
    return np.hstack([vectors.astype(np.float32, copy=False), constant])


def ridge(
    squares: NDArray[np.float64], products: Array, penalty: float, prior: Array | None = None
) -> Array:
    """The map A (m, V) float32 that minimises |X A - Y|^2 + penalty |A - prior|^2.

    `squares`: X'X (m, m). `products`: X'Y (m, V). `prior`: (m, V), 0 without. Solved some
    columns at a time, so that V may be large.

    >>> ridge(np.eye(1), np.array([[2.2]], np.float32), 0.1).round(3).tolist()
    [[2.0]]
    """
    inverse = np.linalg.inv(squares + penalty * np.eye(len(squares)))
    result = np.empty(products.shape, np.float32)
    for start in range(0, products.shape[1], 4096):
        part = slice(start, start + 4096)
        right: NDArray[np.floating[Any]] = products[:, part]
        if prior is not None:
            right = right + penalty * prior[:, part].astype(np.float64)
        result[:, part] = inverse @ right
    return result


def predicted(vectors: Array, map: Ternary, workers: int = 1) -> Array:
    """What a map says of dense vectors: relu([e, 0.3] A), float32 (n, V)."""
    found = map.product(inputs(vectors), workers=workers)
    return np.maximum(found, np.float32(0), out=found)


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
    groups = len(weights) // _GROUP
    least = np.float32(0)
    if k < groups:  # k groups have a weight of at least that each, which spares sorting the rest
        tops = weights[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
        least = np.partition(tops, groups - k)[groups - k]
    ids = np.flatnonzero(weights >= least if least > 0 else weights > 0).astype(np.int32)
    if k >= len(ids):
        return ids
    values = weights[ids]
    floor = np.partition(values, len(ids) - k)[len(ids) - k]
    keep = values > floor
    equal = np.flatnonzero(values == floor)[: k - int(np.count_nonzero(keep))]
    keep[equal] = True
    kept: NDArray[np.int32] = ids[keep]
    return kept


def check_width(map: Ternary, vectors: Array) -> None:
    """Raise ValueError where a map is not one from vectors as wide as these."""
    if vectors.shape[1] + 1 != len(map.codes):
        raise ValueError(f"a map of {len(map.codes)} rows for {vectors.shape[1]} numbers")


def mixed(
    found: Sequence[Terms], vectors: Array, map: Ternary, share: float, extra: int
) -> list[Terms]:
    """Texts' terms, each `blended` with what a map predicts of their dense vectors (n, dim)."""
    starts = range(0, len(found), _TOGETHER)

    def part(start: int) -> list[Terms]:
        some = slice(start, start + _TOGETHER)
        with np.errstate(over="ignore", invalid="ignore"):  # subtle: a thread begins without it
            rows = predicted(vectors[some], map, threads() if len(starts) == 1 else 1)
            return [blended(t, row, share, extra) for t, row in zip(found[some], rows, strict=True)]

    parts = on_threads(part, starts) if threads() > 1 else [part(start) for start in starts]
    return [terms for made in parts for terms in made]


def read_map(layout: BlendLayout, size: int) -> Ternary:
    """A blend's map from dense vectors to a vocabulary of `size`. Raises ValueError, KeyError."""
    weights = Weights(layout.path)
    return Ternary.checked(weights["codes"], weights["scales"], size)


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
    """A blend at work.

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
        if layout.dense_fingerprint not in (None, dense.fingerprint):
            raise UnsupportedModel(
                f"{layout.path} was made with another dense model than {layout.dense!r} is now "
                f"(fingerprint {layout.dense_fingerprint[:12]}, now {dense.fingerprint[:12]}): "
                "bring that one back, or make the blend anew: `searchlib blend`"
            )
        if max_tokens is not None and max_tokens < dense.max_tokens:
            dense = DenseEncoder(layout.dense, device, max_tokens)
        shared = offered() if offered is not None else None
        if isinstance(shared, DenseEncoder) and shared.fingerprint == dense.fingerprint:
            dense = shared
        dense.remember()
        self._dense = dense

    @property
    def room(self) -> int:
        """How many of a document's own tokens the dense model reads."""
        return self._dense.room

    @property
    def fingerprint(self) -> str:
        """Hash of what makes the dense vectors."""
        return self._dense.fingerprint

    def remind(self, texts: Sequence[str], vectors: Array) -> None:
        """Tell the dense vectors of documents that will be asked for next."""
        self._dense.remind(texts, vectors)

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
        with sense(self._layout.path):
            map = self.map
            check_width(map, vectors)
            if self._dense.gpu is not None and all(terms.positions is None for terms in found):
                return self._on_gpu(vectors, found, share, extra)
            return mixed(found, vectors, map, share, extra)

    def _on_gpu(
        self, vectors: Array, found: Sequence[Terms], share: float, extra: int
    ) -> list[Terms]:
        """The same, where the dense model runs by now."""
        from .blend_device import TOGETHER, blended_rows

        made: list[Terms] = []
        for start in range(0, len(found), TOGETHER):
            rows = self._device_map.predicted(inputs(vectors[start : start + TOGETHER]))
            with np.errstate(over="ignore", invalid="ignore"):
                made += blended_rows(found[start : start + TOGETHER], rows, share, extra)
        return made

    @cached_property
    def _device_map(self) -> DeviceMap:
        from .blend_device import DeviceMap

        assert self._dense.gpu is not None
        return DeviceMap(self.map, self._dense.gpu)

    @cached_property
    def map(self) -> Ternary:
        """From dense vectors to the vocabulary. Raises ValueError, KeyError."""
        return read_map(self._layout, self._size)
