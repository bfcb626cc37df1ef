"""Every committed index of an earlier day opens today and answers what it did (make_golden.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import Writer

VERSIONS = sorted((Path(__file__).parent / "golden").glob("v*"))
ASKED = TermVectors.of([{"owl": 1.0, "the": 1.0, "harbour": 1.0}])
ANSWERS = {
    "bm25": {"owl": 0.8893870711, "fog": 0.6200715303, "boat": 0.5283331275},
    "bm25_passage": {"owl": 1.0476156473, "fog": 0.7866964936, "boat": 0.7548683882},
    "sparse": {"boat": 0.75, "owl": 0.75, "fog": 0.5},
}


def check(snapshot: Snapshot) -> None:
    """What make_golden.py put in comes out."""
    assert snapshot.verify() == []
    assert snapshot.settings == {"made by": "make_golden.py"}
    assert set(snapshot.all_ids()) == {"boat", "gate", "rain", "lamp", "owl", "fog"}
    for field, expected in ANSWERS.items():
        [top] = snapshot.search(field, ASKED, 3)
        found = dict(zip(snapshot.ids(top.ids), top.scores.tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-6)
    [top] = snapshot.search("dense", np.array([[1, 2, 3]], np.float32), 3)
    found = dict(zip(snapshot.ids(top.ids), top.scores.tolist(), strict=True))
    assert found == pytest.approx({"boat": 19.0, "owl": 19.0, "fog": 16.0})
    chosen = snapshot.select('year >= 2005 and tags = "bird"')
    [top] = snapshot.search("bm25", ASKED, 9, "document", chosen)
    assert snapshot.ids(top.ids) == ["owl"]
    assert snapshot.records(snapshot.lookup(["boat"])) == [
        Record(
            "boat",
            "Title of boat",
            "the boat lies in the harbour\nno wind no boat",
            {"year": 1999},
            b"boat",
            ((0, 28), (29, 44)),
        )
    ]


def test_there_is_one() -> None:
    assert VERSIONS


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.name)
def test_opens_and_answers(path: Path) -> None:
    with Snapshot.open(path) as snapshot:
        assert (snapshot.generation, snapshot.n_segments) == (2, 2)
        check(snapshot)


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.name)
def test_can_be_written_on(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "i")
    with Writer.open(tmp_path / "i") as writer:
        assert writer.delete(["soup/🍲"]) == 0
        assert writer.merge() == 3
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert snapshot.n_segments == 1
        check(snapshot)
