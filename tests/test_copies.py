"""Copies of one document: fusions rank them as their parts do, and all others after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from searchlib import Document, Engine, Settings
from searchlib.pool import distinct

THINGS = ("river", "bread", "boat", "song", "cat", "house")


@pytest.mark.parametrize("copies", [40, 50, 55, 120])
@pytest.mark.parametrize("name", ["hybrid", "instant"])
def test_copies_come_first_whatever_their_number(
    copies: int, name: str, tmp_path: Path, tiny_dense: Path, tiny_sparse: Path
) -> None:
    settings = Settings(dense_model=str(tiny_dense), sparse_model=str(tiny_sparse))
    others = [
        Document(f"other{i}", f"the {THINGS[i % 6]} and a {THINGS[i // 6 % 6]} number {i}")
        for i in range(80)
    ]
    with Engine.create(tmp_path / "index", settings) as engine:
        engine.add(others)
        engine.add(Document(f"copy{i}", "blues band record") for i in range(copies))
        if name not in engine.retriever_names():
            name = "hybrid"
        whole = engine.search("blues band record", 300, retriever=name)
        assert {hit.id[:4] for hit in whole[:copies]} == {"copy"}
        assert whole[copies - 1].score > whole[copies].score
        for k in (1, 10, 60):
            found = engine.search("blues band record", k, retriever=name)
            assert [hit.id for hit in found] == [hit.id for hit in whole[:k]]
        tree = engine.explain("blues band record", "copy1", retriever=name)
        assert tree.recompute() == pytest.approx(whole[0].score, rel=1e-5)


def test_candidates_that_differ() -> None:
    scores = np.array([[1, 2, 1, 2, 1], [0, 0, 0, 3, 0]], np.float32)
    assert distinct(scores).tolist() == [0, 1, 3]
    assert distinct(np.empty((2, 0), np.float32)).tolist() == []
    assert distinct(np.array([[3, 3], [1, 2]], np.float32)).tolist() == [0, 1]
