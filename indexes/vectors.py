"""Dense vectors of one segment: exact inner products, or an HNSW graph over the same vectors.

The only module that imports faiss, and only where a graph is built or searched. Whatever finds
the candidates (BLAS or the graph), their scores are computed anew, one row at a time by the
same arithmetic, so that a score depends on nothing but the query and the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .traversal import best_of, floor_of
from .types import TopK

VectorKind = Literal["exact", "hnsw", "auto"]

AUTO_HNSW_ROWS = 100_000  # below, an exact scan takes about 10 ms on one core
LINKS = 32  # M of Malkov and Yashunin 2018: links a row and level
MAX_LEVELS = 6  # what faiss makes of M: a row's chance to reach level i is M**-i
EF_CONSTRUCTION = 100
EF_SEARCH = 128
SCORES_AT_ONCE = 2**24  # 64 MiB
ROWS_AT_ONCE = 2**14
FEW = 0.05  # share of eligible or wanted rows from or up to which a scan serves better

Float32s = NDArray[np.float32]
Integers = NDArray[np.int64]


def wants_graph(kind: VectorKind, n_rows: int) -> bool:
    """Whether a segment of a field of this kind gets an HNSW graph."""
    return n_rows > 0 and (kind == "hnsw" or (kind == "auto" and n_rows >= AUTO_HNSW_ROWS))


class Vectors:
    """One segment's vectors, opened: `arrays["vectors"]` is float32 (n_rows, dim).

    `graph` holds the arrays of `build_hnsw`, if the segment has them. `name` is what errors
    call the field's files. Raises Damaged where the arrays are missing or of the wrong type.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        graph: Mapping[str, NDArray[Any]] | None = None,
        name: str = "vectors",
    ) -> None:
        data = arrays.get("vectors")
        if data is None or data.ndim != 2 or data.dtype != np.float32:
            raise Damaged(f"{name}: array 'vectors' is missing or of the wrong type")
        self.data: Float32s = data
        self.n_rows, self.dim = data.shape
        self.name = name
        self._graph = None if graph is None else dict(graph)

    @property
    def has_graph(self) -> bool:
        """Whether the segment has an HNSW graph."""
        return self._graph is not None

    def search(
        self,
        queries: Float32s,
        k: int,
        *,
        eligible: NDArray[np.bool_] | None = None,
        groups: Integers | None = None,
        kind: VectorKind = "auto",
    ) -> list[TopK]:
        """The k rows of largest inner product with each query (q, dim), ties by ascending row.

        With `groups` (g,), the first row of each group of consecutive rows, ascending from 0,
        groups are ranked instead, by their best row. `eligible` is a bool per row, or per
        group. "exact" scans; otherwise the graph is searched if there is one, except where
        few rows are eligible or many are wanted. Raises ValueError for another dimension.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"queries of shape {queries.shape}, must be (n, {self.dim})")
        if groups is not None and len(groups) == self.n_rows:
            groups = None
        n = self.n_rows if groups is None else len(groups)
        n_eligible = n if eligible is None else int(np.count_nonzero(eligible))
        k = min(k, n_eligible)
        if k <= 0 or len(queries) == 0:
            return [TopK(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
        if kind == "exact" or not self.has_graph or n_eligible < FEW * n or k > FEW * n:
            return self._scan(queries, k, eligible, groups)
        return self._walk(queries, k, eligible, groups)

    def scores(self, query: Float32s, rows: Integers) -> Float32s:
        """Inner products of one query (dim,) with rows (m,), float32 (m,), as `search` has them."""
        query = np.ascontiguousarray(query, np.float32)
        result = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            # subtle: not `@`, whose rounding depends on how many rows it is given
            result[part] = np.einsum("ij,j->i", self.data[rows[part]], query)
        return result

    def check(self) -> None:
        """Read everything; raise Damaged where a number is not finite or a link leads astray."""
        if not np.isfinite(self._largest_norm):
            raise Damaged(f"{self.name}: a vector holds what is not a number")
        if self._graph is not None:
            _checked(self._graph, self.n_rows, self.name)

    @cached_property
    def _largest_norm(self) -> float:
        blocks = range(0, self.n_rows, ROWS_AT_ONCE)
        parts = (self.data[start : start + ROWS_AT_ONCE] for start in blocks)
        return float(np.sqrt(max((np.einsum("ij,ij->i", p, p).max() for p in parts), default=0)))

    def _scan(
        self,
        queries: Float32s,
        k: int,
        eligible: NDArray[np.bool_] | None,
        groups: Integers | None,
    ) -> list[TopK]:
        results = []
        at_once = max(1, min(256, SCORES_AT_ONCE // self.n_rows))
        for start in range(0, len(queries), at_once):
            block = queries[start : start + at_once]
            for query, products in zip(block, block @ self.data.T, strict=True):
                best = products if groups is None else np.maximum.reduceat(products, groups)
                if eligible is not None:
                    best = np.where(eligible, best, np.float32(-np.inf))
                # either computation of a product errs by at most dim * 2**-24 * |q| |v|
                slack = 4 * self.dim * 2.0**-24 * float(np.linalg.norm(query)) * self._largest_norm
                near = np.flatnonzero(best >= floor_of(best, k) - slack)
                values = best[near]
                kth = np.partition(values, len(values) - k)[len(values) - k]
                results.append(self._rescored(query, near[values >= kth - slack], k, groups))
        return results

    def _walk(
        self,
        queries: Float32s,
        k: int,
        eligible: NDArray[np.bool_] | None,
        groups: Integers | None,
    ) -> list[TopK]:
        faiss = _faiss()
        mask, wanted = eligible, k
        if groups is not None:
            sizes = np.diff(groups, append=self.n_rows)
            mask = None if eligible is None else np.repeat(eligible, sizes)
            wanted = k * -(-self.n_rows // len(groups))
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        while True:
            options = faiss.SearchParametersHNSW(efSearch=max(EF_SEARCH, 2 * wanted))
            if bits is not None:
                options.sel = faiss.IDSelectorBitmap(bits)
            found = self._index.search(queries, wanted, params=options)[1]
            places = [np.unique(_group_of(row[row >= 0], groups)) for row in found]
            if min(map(len, places)) >= k:
                pairs = zip(queries, places, strict=True)
                return [self._rescored(query, place, k, groups) for query, place in pairs]
            if wanted > FEW * self.n_rows:
                return self._scan(queries, k, eligible, groups)
            wanted *= 2

    def _rescored(self, query: Float32s, places: Integers, k: int, groups: Integers | None) -> TopK:
        """The k best of the candidates `places` (ascending rows or groups), exactly scored."""
        if groups is None:
            return TopK(*best_of(places, self.scores(query, places), k))
        sizes = np.diff(groups, append=self.n_rows)[places]
        firsts = np.cumsum(sizes) - sizes
        rows = np.arange(sizes.sum()) + np.repeat(groups[places] - firsts, sizes)
        best = np.maximum.reduceat(self.scores(query, rows), firsts)
        return TopK(*best_of(places, best, k))

    @cached_property
    def _index(self) -> Any:
        """A faiss index of our arrays: the graph, and the vectors once more as float16."""
        assert self._graph is not None
        _checked(self._graph, self.n_rows, self.name)
        index = _empty_index(self.dim)
        for start in range(0, self.n_rows, ROWS_AT_ONCE):
            index.storage.add(self.data[start : start + ROWS_AT_ONCE])
        index.ntotal = self.n_rows
        for field in ("levels", "offsets", "neighbors"):
            _fill(getattr(index.hnsw, field), self._graph[field])
        index.hnsw.entry_point, index.hnsw.max_level = self._graph["entry"].tolist()
        return index


def build_hnsw(vectors: Float32s) -> dict[str, NDArray[Any]]:
    """The HNSW graph (Malkov and Yashunin 2018) of vectors (n >= 1, dim), for `write_arrays`.

    levels     int32 (n,)    how many levels a row stands in, 1 or more
    offsets    int64 (n + 1,) where a row's links begin in `neighbors`
    neighbors  int32         rows linked to, level after level; -1 is a free place
    entry      int32 (2,)    the row where a search begins, and the highest level
    """
    index = _empty_index(vectors.shape[1])
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(np.ascontiguousarray(vectors, np.float32))
    graph = index.hnsw
    return {
        "levels": _copied(graph.levels).astype(np.int32),
        "offsets": _copied(graph.offsets).astype(np.int64),
        "neighbors": _copied(graph.neighbors).astype(np.int32),
        "entry": np.array([graph.entry_point, graph.max_level], np.int32),
    }


def _faiss() -> Any:
    import faiss  # late: it takes 0.2 s

    return faiss


def _empty_index(dim: int) -> Any:
    faiss = _faiss()
    kind = faiss.ScalarQuantizer.QT_fp16
    return faiss.IndexHNSWSQ(dim, kind, LINKS, faiss.METRIC_INNER_PRODUCT)


def _copied(vector: Any) -> NDArray[Any]:
    """A faiss vector's numbers as an array of our own."""
    return np.array(_faiss().rev_swig_ptr(vector.data(), vector.size()))


def _fill(vector: Any, values: NDArray[Any]) -> None:
    vector.resize(len(values))
    _faiss().rev_swig_ptr(vector.data(), len(values))[:] = values


def _group_of(rows: Integers, groups: Integers | None) -> Integers:
    return rows if groups is None else np.searchsorted(groups, rows, "right") - 1


def _checked(graph: Mapping[str, NDArray[Any]], n: int, name: str) -> None:
    """Raise Damaged unless every link can be followed: faiss itself would crash the process."""
    try:
        levels, offsets = graph["levels"], graph["offsets"]
        neighbors, (entry, top) = graph["neighbors"], graph["entry"].tolist()
        # a row has 2 * LINKS places in the lowest level and LINKS in each further one
        sound = (
            len(levels) == n
            and levels.min() >= 1
            and levels.max() <= MAX_LEVELS
            and top == levels.max() - 1
            and 0 <= entry < n
            and levels[entry] == top + 1
            and offsets[0] == 0
            and np.array_equal(np.diff(offsets), (levels.astype(np.int64) + 1) * LINKS)
            and offsets[-1] == len(neighbors)
            and neighbors.min() >= -1
            and neighbors.max() < n
        )
        if sound:
            high = np.flatnonzero(levels > 1)  # the rows with links in upper levels
            sizes = (levels[high].astype(np.int64) - 1) * LINKS
            firsts = np.cumsum(sizes) - sizes
            place = np.arange(sizes.sum()) - np.repeat(firsts, sizes)
            linked = neighbors[place + np.repeat(offsets[high] + 2 * LINKS, sizes)]
            sound = bool((levels[linked] > place // LINKS + 1)[linked >= 0].all())
    except (KeyError, ValueError, TypeError, IndexError):
        sound = False
    if not sound:
        raise Damaged(f"{name}: the HNSW graph is garbled")
