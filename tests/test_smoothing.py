"""Smoothing over neighbours: C, numpy and the definition agree; scores stay explained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fusion import Known

from indexes import vectors
from indexes.vectors import products_between
from searchlib import Document, Engine, Settings, fusing
from searchlib.errors import BadQuery
from searchlib.fused import Fused
from searchlib.fusing import FAR, nearness
from searchlib.methods import OpinionPool
from searchlib.pool import Pool
from searchlib.smoothing import Smoothing, smoothed

needs_c = pytest.mark.skipif(fusing._fusion is None, reason="the C extension was not built")
PATHS = [pytest.param(True, marks=needs_c, id="c"), pytest.param(False, id="numpy")]
SIMILAR = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(-1, 1, width=32)


def plainly_near(similar: list[float], own: int, most: int) -> list[float]:
    """One candidate's row, from the definition and one number at a time."""
    others = sorted((s for i, s in enumerate(similar) if i != own), reverse=True)
    last = max(others[most] if most < len(others) else 0.0, 0.0)
    above = [0.0 if i == own else max(s - last, 0.0) for i, s in enumerate(similar)]
    return [value / (sum(above) + FAR) for value in above]


@pytest.mark.parametrize("compiled", PATHS)
@given(
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(SIMILAR, min_size=n, max_size=n), max_size=4)
    ),
    most=st.integers(1, 10),
    data=st.data(),
)
@settings(deadline=None)
def test_nearness_is_that_of_the_definition(
    compiled: bool, rows: list[list[float]], most: int, data: Any
) -> None:
    n = len(rows[0]) if rows else 3
    own = data.draw(st.lists(st.integers(-1, n - 1), min_size=len(rows), max_size=len(rows)))
    similar = np.array(rows, np.float32).reshape(len(rows), n)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(fusing, "_fusion", None)
        near = nearness(similar, np.array(own, np.int64), most)
    expected = [plainly_near(row, i, most) for row, i in zip(similar.tolist(), own, strict=True)]
    np.testing.assert_allclose(near, np.reshape(expected, near.shape), atol=1e-12)
    assert ((near > 0).sum(1) <= most).all()
    assert (near.sum(1) < 1).all()


@pytest.mark.parametrize("compiled", PATHS)
def test_products_are_the_same_in_any_company(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(vectors, "kernel", lambda: None)
    random = np.random.default_rng(3)
    for dim in (1, 7, 384):
        rows = random.normal(size=(11, dim)).astype(np.float32)
        products = products_between(rows, rows)
        np.testing.assert_allclose(products, rows.astype(float) @ rows.T, rtol=1e-4, atol=1e-4)
        assert (products == products.T).all()
        assert (products_between(rows[2:5], rows[4:]) == products[2:5, 4:]).all()
    assert products_between(rows[:0], rows).shape == (0, 11)


@needs_c
def test_sizes_that_disagree_are_refused() -> None:
    assert fusing._fusion is not None
    rows, near = np.zeros((2, 3), np.float32), np.zeros((2, 3))
    for most, own, weights in ((0, 2, near), (1, 4, near), (1, 2, near[:, :2].copy())):
        with pytest.raises(ValueError, match="do not fit"):
            fusing._fusion.near(rows, np.zeros(own, np.int64), most, weights)
    scan = vectors.kernel()
    assert scan is not None
    with pytest.raises(ValueError, match="do not fit"):
        scan.between(rows, rows, 2, np.zeros((2, 2), np.float32))


def test_scores_move_towards_the_neighbours() -> None:
    near = np.array([[0.0, 0.8, 0.0], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0]])
    scores = np.array([1.0, 3.0, 2.0], np.float32)
    assert smoothed(scores, scores, near, 0.5).tolist() == pytest.approx([1.8, 2.1, 2.0])
    assert smoothed(scores, scores, near, 0.0).tolist() == scores.tolist()


@dataclass
class Places:
    """Where each document lies."""

    table: np.ndarray[Any, Any]

    def vectors(self, query: str, ids: Any, where: Any, unit: Any) -> Any:
        return self.table[ids]


@dataclass
class Named:
    """A snapshot that can name its documents."""

    def ids(self, numbers: Any) -> list[str]:
        return [f"d{number}" for number in numbers]


def a_fusion(depth: int, smoothing: bool = True) -> tuple[Fused, Places]:
    """Forty documents in eight heaps; two parts."""
    random = np.random.default_rng(8)
    heaps = random.normal(size=(8, 6))
    places = Places((heaps[np.arange(40) % 8] + random.normal(0, 0.4, (40, 6))).astype(np.float32))
    parts = [Known(name, random.gamma(1, 1, 40).tolist(), Named()) for name in ("words", "dense")]
    smooth = Smoothing(places, 0, 0.6, 3.0, 4) if smoothing else None
    return Fused("f", tuple(parts), (0.5, 1.0), OpinionPool(), depth, smoothing=smooth), places


@pytest.mark.parametrize("depth", [4, 12, 40])
def test_a_smoothed_fusion_is_that_of_the_definition(depth: int) -> None:
    fusion, places = a_fusion(depth)
    plain, _ = a_fusion(depth, smoothing=False)
    everyone = np.arange(40)
    own = plain.scores("q", everyone, None, "document").astype(float)
    members = sorted(
        {int(i) for part in fusion.parts for i in part.top("q", depth, None, "document")[0].ids}
    )
    tables = np.array([part.table for part in fusion.parts], np.float32)
    share = 0.6 * math.exp(3 * (Pool(tables[:, members]).evenness[0] - 1))
    directions = places.table / np.linalg.norm(places.table, axis=1, keepdims=True)
    most = min(4, len(members) // 6)
    expected = []
    for i in range(40):
        similar = (directions[members] @ directions[i]).tolist()
        at = members.index(i) if i in members else -1
        near = plainly_near(similar, at, most) if most else [0.0] * len(members)
        moved = sum(n * (own[j] - own[i]) for n, j in zip(near, members, strict=True))
        expected.append(own[i] + share * moved)
    found = fusion.scores("q", everyone, None, "document")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert most == 0 or np.abs(found - own).max() > 0.05

    [top] = fusion.top(["q"], 4, None, "document")
    best = sorted(members, key=lambda i: (-found[i], i))[:4]
    assert (top.ids.tolist(), top.scores.tolist()) == (best, found[best].tolist())
    for batch in fusion.top(["q", "p"], 4, None, "document"):
        assert batch.ids.tolist() == best
    [[once], [again]] = (
        [fusion.top_weighted("q", 4, [(0.5, 1.0)])[0]],
        fusion.top(["q"], 4, None, "document"),
    )
    assert once.scores.tolist() == again.scores.tolist()
    for id in (0, best[0], *sorted(set(range(40)) - set(members))[:1]):
        tree = fusion.explain_id("q", id, None, "document")
        assert tree.value == pytest.approx(float(found[id]), rel=1e-5)
        assert tree.recompute() == pytest.approx(float(found[id]), rel=1e-5)
        assert (tree.parts[-1].name == "smoothing over neighbours") == bool(most)


def thirty() -> list[Document]:
    """Documents about three things, some of several passages."""
    random = np.random.default_rng(1)
    words = ("river boat water fish", "teacher school book child", "band song music group")
    return [
        Document(
            f"d{i}",
            " ".join(random.choice(words[i % 3].split(), 5)) + " the" * (30 * (i % 7 == 0)),
        )
        for i in range(30)
    ]


@pytest.fixture(scope="module")
def heaps(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Any:
    """An index of the thirty documents."""
    with Engine.create(tmp_path_factory.mktemp("heaps") / "x.index", tiny_settings) as engine:
        engine.add(thirty())
        yield engine


def test_an_index_smooths_its_hybrid_and_says_how(heaps: Engine) -> None:
    hits = heaps.search("a boat on the river", 10, explain=True)
    plain = heaps.retriever("hybrid")
    assert isinstance(plain, Fused)
    assert plain.smoothing is not None
    tree = hits[0].explanation
    assert tree is not None
    assert tree.recompute() == pytest.approx(hits[0].score, rel=1e-4)
    smoothing = tree.parts[-1]
    assert smoothing.name == "smoothing over neighbours"
    share, moved = smoothing.parts
    assert 0 < share.value <= 0.6
    assert moved.parts
    assert {part.name.split()[0] for part in moved.parts} == {"neighbour"}
    passages = heaps.search("a boat on the river", 5, unit="passage", explain=True)
    for hit in passages:
        assert hit.explanation is not None
        assert hit.explanation.recompute() == pytest.approx(hit.score, rel=1e-4)


def test_scores_do_not_depend_on_segments(
    heaps: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    queries = ["a boat on the river", "the teacher's book", "songs"]
    path = tmp_path_factory.mktemp("pieces") / "x.index"
    documents = thirty()
    with Engine.create(path, heaps.settings) as engine:
        for start in range(27, -1, -3):
            engine.add(documents[start : start + 3])
        engine.delete(["d4", "d5"])
        engine.add(documents[4:6])
        for query in queries:
            one, other = heaps.rank([query], 30)[0], engine.rank([query], 30)[0]
            assert dict(one) == pytest.approx(dict(other), abs=1e-4)


def test_no_smoothing_when_asked_or_without_vectors(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings
) -> None:
    from dataclasses import replace

    for changes in ({"smoothing": 0.0}, {"dense_model": None}):
        path = tmp_path_factory.mktemp("none") / "x.index"
        with Engine.create(path, replace(tiny_settings, **changes)) as engine:  # type: ignore[arg-type]
            hybrid = engine.retriever("hybrid")
            assert isinstance(hybrid, Fused)
            assert hybrid.smoothing is None


@pytest.mark.parametrize(
    ("share", "sharpness", "neighbours"), [(1.1, 3, 5), (0.5, -1, 5), (0.5, 3, 0)]
)
def test_illegal_values_are_refused(share: float, sharpness: float, neighbours: int) -> None:
    _, places = a_fusion(4)
    with pytest.raises(BadQuery, match="illegal"):
        Smoothing(places, 0, share, sharpness, neighbours)
    with pytest.raises(BadQuery, match="illegal smoothing"):
        Settings(smoothing=1.5)
