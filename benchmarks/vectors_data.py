"""Learned-sparse vectors for benchmarks: real ones, and any number of further ones like them.

`grow` mixes each real vector with relatives, `pool` takes the maximum over related vectors as
SPLADE does over a longer text. Both are deterministic, and neither repeats a document.

What growing keeps, in expectation: how many rows hold each term, row lengths, the weights of
every term; every real vector is a parent equally often. What it changes: a grown vector shares
about half of its terms with one real vector, so a million of them lie in as many loose clusters
as there are real vectors. That favours systems that order documents by similarity and skip
blocks; a real million would be less clustered. Rows are in no order that a system could use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchlib.errors import BadInput, NotFound

Ints = NDArray[np.int64]
Csr = Any  # scipy.sparse.csr_matrix, float32; scipy is imported where it is used
HEAVY = 4  # the terms of a row, by weight times idf, that make rows relatives
OWN = (0.3, 0.7)  # the share of terms that a mixed row takes from its first parent
JITTER = 0.1  # of a grown weight: the standard deviation of its logarithm
LINES = (6, 7, 8)  # vectors pooled into a passage
QUERY_LINES = (2, 2, 3)
ROWS_AT_ONCE = 20_000
LOGISTIC = 0x9E3779B97F4A7C15  # splitmix64's step


@dataclass(frozen=True)
class Relatives:
    """Which rows share a heavy rare term: `heavy` (n, HEAVY) terms; who is heavy in each term."""

    heavy: Ints
    starts: Ints  # (terms + 1,)
    members: Ints  # (n * HEAVY,) rows, term by term

    @staticmethod
    def of(rows: Csr) -> Relatives:
        """The relatives among the rows of a matrix."""
        count = rows.shape[0]
        lengths = np.diff(rows.indptr)
        frequency = np.bincount(rows.indices, minlength=rows.shape[1])
        rarity = np.log(1 + count / np.maximum(frequency, 1))
        owner = np.repeat(np.arange(count), lengths)
        order = np.lexsort((-rows.data * rarity[rows.indices], owner))
        # rows of fewer terms than HEAVY name their last again
        place = np.minimum(np.arange(HEAVY), np.maximum(lengths, 1)[:, None] - 1)
        heavy = rows.indices[order[rows.indptr[:-1, None].astype(np.int64) + place]]
        flat = heavy.reshape(-1).astype(np.int64)
        starts = np.searchsorted(np.sort(flat), np.arange(rows.shape[1] + 1))
        return Relatives(heavy.astype(np.int64), starts, np.argsort(flat, kind="stable") // HEAVY)

    def draw(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """A relative of each row: of one of its heavy terms, one of those heavy in it too.

        So every row is drawn equally often in expectation. A row without relatives draws any.
        """
        term = self.heavy[rows, rng.integers(HEAVY, size=len(rows))]
        low, size = self.starts[term], self.starts[term + 1] - self.starts[term]
        at = rng.integers(size)
        drawn = self.members[low + at]
        again = self.members[low + (at + 1) % size]
        drawn = np.where(drawn == rows, again, drawn)
        return np.where(drawn == rows, rng.integers(len(self.heavy), size=len(rows)), drawn)


def short(base: Csr, count: int, seed: int = 0) -> Csr:
    """`count` rows: the real ones first, then mixtures of them."""
    if count <= base.shape[0]:
        return rounded(base[:count])
    from scipy.sparse import vstack

    return vstack([rounded(base), grow(base, count - base.shape[0], seed)], format="csr")


def grow(base: Csr, count: int, seed: int = 0) -> Csr:
    """`count` rows, each a mixture of a row of `base` and two of its relatives.

    Each row i has a share p drawn from OWN. A coin for every (row, term) names one parent: the
    first with probability p, else one of the others. The row holds the term if that parent
    does, with that parent's weight, jittered.
    """
    relatives, rng = Relatives.of(base), np.random.default_rng(seed)
    hosts = rng.permutation(base.shape[0])

    def parts() -> Iterator[tuple[Ints, Ints, Ints, NDArray[np.float32]]]:
        for start in range(0, count, ROWS_AT_ONCE):
            host = hosts[np.arange(start, min(count, start + ROWS_AT_ONCE)) % len(hosts)]
            yield _mixed(base, [host, *(relatives.draw(host, rng) for _ in range(2))], rng)

    return _assembled(parts(), count, base.shape[1])


def pool(base: Csr, count: int, lines: tuple[int, ...] = LINES, seed: int = 0) -> Csr:
    """`count` rows, each the maximum over a row of `base` and relatives: a longer text's vector.

    As many rows are pooled as one of `lines` says, drawn for each.
    """
    relatives, rng = Relatives.of(base), np.random.default_rng(seed + 1)
    hosts = rng.permutation(base.shape[0])

    def parts() -> Iterator[tuple[Ints, Ints, Ints, NDArray[np.float32]]]:
        for start in range(0, count, ROWS_AT_ONCE):
            host = hosts[np.arange(start, min(count, start + ROWS_AT_ONCE)) % len(hosts)]
            sizes = rng.choice(lines, size=len(host))
            parents = [host, *(relatives.draw(host, rng) for _ in range(max(lines) - 1))]
            yield _pooled(base, parents, sizes, rng)

    return _assembled(parts(), count, base.shape[1])


def rounded(rows: Csr) -> Csr:
    """The rows with weights that float16 holds, so that no system gains or loses by storing it."""
    made = rows.copy()
    made.data = _halves(rows.data)
    return made


def load(path: Path) -> Csr:
    """A scipy CSR matrix from an .npz file, float32, with sorted columns.

    Raises:
        NotFound, BadInput: there is no such file, or it holds something else.
    """
    from scipy.sparse import csr_matrix, load_npz

    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    try:
        rows = csr_matrix(load_npz(path), dtype=np.float32)
    except (ValueError, OSError, KeyError, TypeError, EOFError):
        raise BadInput(f"{path}: not a sparse matrix of scipy.sparse.save_npz") from None
    if not rows.nnz or not np.isfinite(rows.data).all() or rows.data.min() < 0:
        raise BadInput(f"{path}: weights must be numbers >= 0, and there must be some")
    rows.sort_indices()
    return rows


def encoded(texts: list[str], queries: list[str]) -> tuple[Csr, Csr]:
    """Both encoded by the plain sparse model, over the columns of its vocabulary."""
    from scipy.sparse import csr_matrix

    from searchlib.encoders.models import SPARSE_BASE
    from searchlib.encoders.sparse import SparseEncoder

    encoder = SparseEncoder(SPARSE_BASE)
    width, made = encoder.tokenizer.size, []
    for encode, some in ((encoder.encode_document, texts), (encoder.encode_query, queries)):
        found = encode(some)
        column = np.array([encoder.tokenizer.id(term) for term in found.terms], np.int32)
        shape = (len(some), width)
        rows = csr_matrix((found.values, column[found.indices], found.indptr), shape)
        rows.sort_indices()
        made.append(rows)
    return made[0], made[1]


def cached(path: Path, make: Callable[[], tuple[Csr, Csr]]) -> tuple[Csr, Csr]:
    """The two matrices kept in `path`-documents.npz and `path`-queries.npz, made if absent."""
    from scipy.sparse import save_npz

    files = [path.with_name(f"{path.name}-{part}.npz") for part in ("documents", "queries")]
    if not all(file.is_file() for file in files):
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, rows in zip(files, make(), strict=True):
            save_npz(file, rows)
    return load(files[0]), load(files[1])


Gathered = tuple[Ints, NDArray[np.float32]]  # row * width + column, weight


def _gather(base: Csr, rows: Ints, places: Ints) -> Gathered:
    """The entries of rows of `base`, put into rows `places`; ascending keys."""
    lengths = np.diff(base.indptr)[rows].astype(np.int64)
    ends = np.cumsum(lengths)
    at = np.arange(ends[-1]) + np.repeat(base.indptr[rows] - (ends - lengths), lengths)
    return np.repeat(places * base.shape[1], lengths) + base.indices[at], base.data[at]


def _mixed(
    base: Csr, parents: list[Ints], rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, NDArray[np.float32]]:
    count, width = len(parents[0]), base.shape[1]
    own = rng.uniform(*OWN, size=count)
    salt = rng.integers(2**63, dtype=np.uint64)
    places = np.arange(count)
    kept: list[Gathered] = []
    for number, rows in enumerate(parents):
        keys, weights = _gather(base, rows, places)
        coin, share = _coins(keys, salt), own[keys // width]
        second = share + (1 - share) / 2
        named = (coin >= share).astype(np.int8) + (coin >= second)
        kept.append((keys[named == number], weights[named == number]))
    keys = np.concatenate([keys for keys, _ in kept])
    bare = np.flatnonzero(np.bincount(keys // width, minlength=count) == 0)
    if len(bare):  # no parent held what it was to give: the first parent's row
        kept.append(_gather(base, parents[0][bare], bare))
    keys = np.concatenate([keys for keys, _ in kept])
    weights = np.concatenate([weights for _, weights in kept])
    order = np.argsort(keys, kind="stable")
    return _rows(keys[order], weights[order], count, width, rng)


def _pooled(
    base: Csr, parents: list[Ints], sizes: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, NDArray[np.float32]]:
    count = len(sizes)
    kept = [
        _gather(base, rows[sizes > number], np.flatnonzero(sizes > number))
        for number, rows in enumerate(parents)
        if (sizes > number).any()
    ]
    keys = np.concatenate([keys for keys, _ in kept])
    weights = np.concatenate([weights for _, weights in kept])
    order = np.argsort(keys, kind="stable")
    keys, weights = keys[order], weights[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    largest = np.maximum.reduceat(weights, first)
    return _rows(keys[first], largest, count, base.shape[1], rng)


def _rows(
    keys: Ints, weights: NDArray[np.float32], count: int, width: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, NDArray[np.float32]]:
    """Lengths, columns and jittered weights of sorted entries."""
    jitter = np.exp(rng.standard_normal(len(keys), np.float32) * np.float32(JITTER))
    rows, columns = np.divmod(keys, width)
    lengths = np.bincount(rows, minlength=count)
    return lengths, columns.astype(np.int32), rows, _halves(weights * jitter)


def _assembled(
    parts: Iterator[tuple[Ints, Ints, Ints, NDArray[np.float32]]], count: int, width: int
) -> Csr:
    from scipy.sparse import csr_matrix

    lengths, columns, weights = [], [], []
    for some_lengths, some_columns, _, some_weights in parts:
        lengths.append(some_lengths)
        columns.append(some_columns)
        weights.append(some_weights)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    all_columns = np.concatenate(columns)
    columns.clear()  # one copy at a time
    all_weights = np.concatenate(weights)
    weights.clear()
    made = csr_matrix((all_weights, all_columns, indptr.astype(np.int32)), (count, width))
    made.has_sorted_indices = True
    return made


def _coins(keys: Ints, salt: np.uint64) -> NDArray[np.float64]:
    """A number in [0, 1) for every key, the same for the same key (splitmix64's finaliser)."""
    x = (keys.astype(np.uint64) + salt) * np.uint64(LOGISTIC)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53, np.float64)


def _halves(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    smallest = np.float32(2.0**-14)  # the least normal float16: no weight becomes zero
    return np.maximum(weights, smallest).astype(np.float16).astype(np.float32)
