"""Codes in a whole index: written, merged, deleted from, filtered, verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from indexes.arrays import map_arrays, write_arrays
from indexes.directory import FileDirectory
from indexes.errors import Damaged
from indexes.manifest import VectorField, read_manifest
from indexes.snapshot import Snapshot
from indexes.types import Record, TopK
from indexes.writer import Writer

DIM, COUNT = 24, 2000
FIELD = VectorField("dense", DIM, "passage", "pq")


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((12, DIM)) * np.linspace(2, 0.3, DIM)
    made = centres[rng.integers(0, 12, count)] + rng.standard_normal((count, DIM))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def records(start: int, stop: int) -> list[Record]:
    """Documents of two passages, in ten groups."""
    return [
        Record(str(i), "", "a b", {"group": i % 10}, passages=((0, 1), (2, 3)))
        for i in range(start, stop)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = vectors(COUNT)
    with Writer.create(tmp_path / "i", [FIELD]) as writer:
        for start in (0, 600):
            stop = 600 if start == 0 else COUNT // 2
            writer.add(records(start, stop), {"dense": rows[2 * start : 2 * stop]})
            writer.commit()
    return tmp_path / "i"


def overlap(found: list[TopK], exact: list[TopK]) -> float:
    return float(np.mean([np.isin(b.ids, a.ids).mean() for a, b in zip(found, exact, strict=True)]))


def test_codes_find_what_the_scan_finds(path: Path) -> None:
    """Nearly all of it, and with the very same scores; after deleting and merging too."""
    queries = vectors(40, seed=1)
    for change in ("none", "delete", "merge"):
        with Writer.open(path) as writer:
            if change == "delete":
                writer.delete([str(i) for i in range(0, COUNT // 2, 3)])
                writer.commit()
            if change == "merge":
                writer.merge()
        with Snapshot.open(path) as snapshot:
            assert any("codes" in part for part in read_manifest(FileDirectory(path)).files)
            assert snapshot.verify() == []
            for unit in ("passage", "document"):
                for where in (None, snapshot.select("group < 6"), snapshot.select("group = 3")):
                    found = snapshot.search("dense", queries, 5, unit, where)  # type: ignore[arg-type]
                    exact = snapshot.search("dense", queries, 5, unit, where, exact=True)  # type: ignore[arg-type]
                    assert overlap(found, exact) > 0.97
                    for query, ranking in zip(queries, found, strict=True):
                        scores = snapshot.scores("dense", query, ranking.ids, unit)  # type: ignore[arg-type]
                        assert scores.tolist() == ranking.scores.tolist()


def test_codes_that_do_not_fit_are_named(path: Path) -> None:
    manifest = read_manifest(FileDirectory(path))
    name = next(name for name in manifest.files if "codes" in name)
    arrays = {key: value.copy() for key, value in map_arrays(path / name).items()}
    before = (path / name).read_bytes()
    arrays["centroids"], arrays["codes"] = arrays["codes"], arrays["centroids"]
    (path / name).unlink()
    with open(path / name, "wb") as file:
        write_arrays(file, arrays)
        file.truncate(len(before))
    with pytest.raises(Damaged, match=name):
        Snapshot.open(path)


def test_garbled_codes_harm_neither_process_nor_scores(path: Path) -> None:
    """Which candidates there are is all that codes decide; `verify` names the file."""
    manifest = read_manifest(FileDirectory(path))
    name = next(name for name in manifest.files if "codes" in name)
    data = bytearray((path / name).read_bytes())
    garbage = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    data[-4000:] = garbage
    (path / name).write_bytes(bytes(data))
    with Snapshot.open(path) as snapshot:
        assert any(name in problem for problem in snapshot.verify())
        query = vectors(1, seed=2)
        [found] = snapshot.search("dense", query, 5)
        scores = snapshot.scores("dense", query[0], found.ids)
        assert scores.tolist() == found.scores.tolist()
