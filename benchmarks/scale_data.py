"""Documents with all their rows, in files of some thousand, so that reading takes no memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engine_room import row_queries
from material import Material
from numpy.typing import NDArray

from indexes.types import TermVectors
from searchlib.encoders.analyzer import Analyzer

DIM = 64  # of dense vectors; models have 384 and more
BATCH = 10_000  # documents
Batch = tuple[list[str], TermVectors, NDArray[np.float32]]  # texts, sparse, dense


def write(folder: Path, material: Material, count: int) -> None:
    """Puts `count` documents into files; dense vectors are projections of the sparse ones."""
    rows = material.documents("short", count)
    texts = material.texts(count)
    projection = _projection(rows.shape[1])
    centre = unit(rows[:BATCH], projection).mean(axis=0)
    for start in range(0, count, BATCH):
        part = rows[start : start + BATCH]
        name = f"{start:09d}"
        np.savez(
            folder / f"{name}.npz",
            indptr=part.indptr.astype(np.int64),
            indices=part.indices,
            values=part.data,
            dense=unit(part, projection, centre),
        )
        (folder / f"{name}.json").write_text(json.dumps(texts[start : start + BATCH]))
    (folder / "columns.json").write_text(json.dumps(rows.shape[1]))


def read(folder: Path, count: int) -> Iterator[Batch]:
    """The first `count` documents, a batch at a time."""
    terms = [str(column) for column in range(json.loads((folder / "columns.json").read_text()))]
    for start in range(0, count, BATCH):
        stop = min(BATCH, count - start)
        with np.load(folder / f"{start:09d}.npz", allow_pickle=False) as file:
            sparse = TermVectors(terms, file["indptr"], file["indices"], file["values"])
            dense: NDArray[np.float32] = file["dense"]
        texts: list[str] = json.loads((folder / f"{start:09d}.json").read_text())
        yield texts[:stop], sparse.select(0, stop), dense[:stop]


def write_queries(path: Path, material: Material, count: int) -> None:
    """Queries as lines of JSON: words as terms, {term: weight}, and a vector."""
    rows = material.asked("short", count)
    terms = [str(column) for column in range(rows.shape[1])]
    dense = unit(rows, _projection(rows.shape[1]))
    analyzer = Analyzer()
    lines = [
        json.dumps([analyzer.encode_query([text]).row(0), sparse.row(0), vector.tolist()])
        for text, sparse, vector in zip(
            material.all_questions, row_queries(rows, terms), dense, strict=False
        )
    ]
    path.write_text("\n".join(lines))


def unit(
    rows: Any, projection: NDArray[np.float32], centre: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Projections of sparse rows, of length 1; moved by `centre` before, and made so again."""
    made: NDArray[np.float32] = rows @ projection
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
    return made if centre is None else unit_rows(made - centre)


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows, each of length 1."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def _projection(width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((width, DIM), np.float32)
