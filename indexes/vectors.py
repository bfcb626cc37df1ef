"""Dense vectors of one segment: exact inner products, or 4-bit codes that choose candidates.

Whatever finds the candidates (BLAS or the codes), their scores are computed anew, one row at a
time by the same arithmetic, so that a score depends on nothing but the query and the row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .pq import Codes, kernel
from .threads import cores, on_threads
from .topk import best_of, floor_of
from .types import TopK

VectorKind = Literal["exact", "pq", "auto"]

AUTO_ROWS = 10_000  # of a field: below, a scan takes but a moment, and finds all
CODED_ROWS = 4_000  # of a segment: below, codes are hardly faster than a scan
SCORES_AT_ONCE = 2**24  # 64 MiB
ROWS_AT_ONCE = 2**14
QUERIES_AT_ONCE = 64
FEW = 64  # a row's exact product takes as long as looking up the codes of about so many
MANY = 0.25  # the share of rows chosen from which a scan serves better

Float32s = NDArray[np.float32]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


def wants_codes(kind: VectorKind, n_rows: int) -> bool:
    """Whether a segment of a field of this kind gets codes."""
    return n_rows > 0 and (kind == "pq" or (kind == "auto" and n_rows >= CODED_ROWS))


def uses_codes(kind: VectorKind, n_rows: int) -> bool:
    """Whether a field of this kind, of so many rows in all segments, is searched by codes."""
    return kind == "pq" or (kind == "auto" and n_rows >= AUTO_ROWS)


def candidates_for(k: int, n_rows: int) -> int:
    """How many rows the codes choose for k results: recall of the exact ones grows with it.

    Measured with all-MiniLM-L6-v2 (384 numbers), short texts: the default finds .993 to .997 of
    the exact 10 best among 10,000 to 150,000 rows, and about .99 of the 100 best. Among 100,000
    rows, 150, 200, 300, 600 and 1000 candidates find .986, .991, .995, .998 and .999 of the 10
    best; 300, 600 and 1000 find .936, .981 and .993 of the 100 best.
    """
    return int((200 + 8 * k) * max(0.5, (n_rows / 100_000) ** 0.5))


class Vectors:
    """One segment's vectors, opened: `arrays["vectors"]` is float32 (n_rows, dim).

    `codes` are those of the same rows, if the segment has them. `name` is what errors call the
    file. Raises Damaged where the array is missing or of the wrong type.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        codes: Codes | None = None,
        name: str = "vectors",
    ) -> None:
        data = arrays.get("vectors")
        if data is None or data.ndim != 2 or data.dtype != np.float32:
            raise Damaged(f"{name}: array 'vectors' is missing or of the wrong type")
        self.data: Float32s = np.ascontiguousarray(data)
        self.n_rows, self.dim = data.shape
        self.name = name
        self._codes = codes

    def search(
        self,
        queries: Float32s,
        k: int,
        *,
        eligible: Bools | None = None,
        groups: Integers | None = None,
        kind: VectorKind = "auto",
        candidates: int | None = None,
    ) -> list[TopK]:
        """The k rows of largest inner product with each query (q, dim), ties by ascending row.

        With `groups` (g,), the first row of each group of consecutive rows, ascending from 0,
        groups are ranked instead, by their best row. `eligible` is a bool per row, or per
        group. "exact" scans; otherwise the codes choose `candidates` rows (default:
        `candidates_for`), if there are codes, except where few rows are eligible or many are
        wanted. Raises ValueError for another dimension.
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
        wanted = max(k, candidates or candidates_for(k, self.n_rows))
        if eligible is not None and n_eligible <= max(wanted * n // self.n_rows, n // FEW):
            places = np.flatnonzero(eligible)
            return [self._rescored(query, places, k, groups) for query in queries]
        if (
            kind == "exact"
            or self._codes is None
            or kernel() is None
            or wanted > MANY * self.n_rows
        ):
            return self._scan(queries, k, eligible, groups)
        return self._look_up(self._codes, queries, k, eligible, groups, wanted=wanted)

    def scores(self, query: Float32s, rows: Integers) -> Float32s:
        """Inner products of one query (dim,) with rows (m,), float32 (m,), as `search` has them."""
        query = np.ascontiguousarray(query, np.float32)
        rows = np.ascontiguousarray(rows, np.int64)
        result = np.empty(len(rows), np.float32)
        scan = kernel()
        if scan is not None and self.dim > 0:
            scan.products(self.data, query, rows, result)
            self.check_finite(result)
            return result
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            # subtle: not `@`, whose rounding depends on how many rows it is given
            result[part] = np.einsum("ij,j->i", self.data[rows[part]], query)
        self.check_finite(result)
        return result

    def check(self) -> None:
        """Read everything; raise Damaged where a number is not finite."""
        self.check_finite(np.array([self._largest_norm], np.float32))
        if self._codes is not None:
            self._codes.check()

    def check_finite(self, products: Float32s) -> None:
        """Raise Damaged where products with rows (m,), or their squares, are no finite numbers.

        Encoders make vectors of about unit length; a flipped bit of an exponent makes 1e30.
        """
        if not math.isfinite(np.vdot(products, products)):
            raise Damaged(
                f"{self.name}: a vector holds what is not a number, or far too large a one"
            )

    @cached_property
    def _largest_norm(self) -> float:
        blocks = range(0, self.n_rows, ROWS_AT_ONCE)
        parts = (self.data[start : start + ROWS_AT_ONCE] for start in blocks)
        return float(np.sqrt(max((np.einsum("ij,ij->i", p, p).max() for p in parts), default=0)))

    def _scanned(
        self, query: Float32s, k: int, eligible: Bools | None, groups: Integers | None
    ) -> TopK:
        """The k best for one query, by one pass in C: BLAS pays for many queries only."""
        if groups is not None:
            every = np.arange(len(groups)) if eligible is None else np.flatnonzero(eligible)
            return self._rescored(query, every, k, groups)
        rows, scores = np.empty(k, np.int64), np.empty(k, np.float32)
        count = kernel().scan(self.data, query, eligible, rows, scores)  # type: ignore[union-attr]
        self.check_finite(scores[:count])
        return TopK(rows[:count], scores[:count])

    def _scan(
        self,
        queries: Float32s,
        k: int,
        eligible: Bools | None,
        groups: Integers | None,
    ) -> list[TopK]:
        if len(queries) == 1 and kernel() is not None and self.dim > 0:
            return [self._scanned(queries[0], k, eligible, groups)]
        results = []
        self.check_finite(np.array([self._largest_norm], np.float32))
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

    def _look_up(
        self,
        codes: Codes,
        queries: Float32s,
        k: int,
        eligible: Bools | None,
        groups: Integers | None,
        *,
        wanted: int,
    ) -> list[TopK]:
        """The best of `wanted` rows that the codes choose; several queries share the threads."""
        if groups is None and len(queries) == 1:
            top = codes.best(queries[0], k, self.data, wanted=wanted, eligible=eligible)
            self.check_finite(top.scores)
            return [top]
        sizes = None if groups is None else np.diff(groups, append=self.n_rows)
        mask = eligible if eligible is None or sizes is None else np.repeat(eligible, sizes)

        def answer(some: Float32s) -> list[TopK]:
            found = zip(some, codes.nearest(some, wanted, mask), strict=True)
            if groups is None:
                return [TopK(*best_of(rows, self.scores(q, rows), k)) for q, rows in found]
            return [self._grouped(q, rows, k, eligible, groups) for q, rows in found]

        threads = cores() if len(queries) > 1 else 1
        share = min(QUERIES_AT_ONCE, -(-len(queries) // threads))
        parts = [queries[i : i + share] for i in range(0, len(queries), share)]
        return [top for answers in on_threads(answer, parts) for top in answers]

    def _grouped(
        self, query: Float32s, rows: Integers, k: int, eligible: Bools | None, groups: Integers
    ) -> TopK:
        """The k best groups of rows that the codes chose (ascending)."""
        places = np.searchsorted(groups, rows, "right") - 1
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        if len(firsts) < k:  # few groups have all of the rows
            return self._scan(query[None], k, eligible, groups)[0]
        best = np.maximum.reduceat(self.scores(query, rows), firsts)
        # a group's best row may have been passed over, so more groups than k are looked at
        near = np.sort(best_of(places[firsts], best, 2 * k)[0])
        return self._rescored(query, near, k, groups)

    def _rescored(self, query: Float32s, places: Integers, k: int, groups: Integers | None) -> TopK:
        """The k best of the candidates `places` (ascending rows or groups), exactly scored."""
        if groups is None:
            return TopK(*best_of(places, self.scores(query, places), k))
        sizes = np.diff(groups, append=self.n_rows)[places]
        firsts = np.cumsum(sizes) - sizes
        rows = np.arange(sizes.sum()) + np.repeat(groups[places] - firsts, sizes)
        best = np.maximum.reduceat(self.scores(query, rows), firsts)
        return TopK(*best_of(places, best, k))
