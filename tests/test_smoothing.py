"""Smoothing over neighbours: C, numpy and the definition agree; scores stay explained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fusion import Known

from searchlib import Document, Engine, Settings
from searchlib.errors import BadQuery
from searchlib.fused import Fused
from searchlib.methods import OpinionPool
from searchlib.smoothing import FAR, Smoothing, cosines, nearness, smoothed

SIMILAR = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(-1, 1, width=32)


def plainly_near(similar: list[float], own: int, most: int) -> list[float]:
    """One candidate's row, from the definition and one number at a time."""
    others = sorted((s for i, s in enumerate(similar) if i != own), reverse=True)
    last = max(others[most] if most < len(others) else 0.0, 0.0)
    above = [0.0 if i == own else max(s - last, 0.0) for i, s in enumerate(similar)]
    return [value / (sum(above) + FAR) for value in above]


@given(
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(SIMILAR, min_size=n, max_size=n), min_size=n, max_size=n)
    ),
    most=st.integers(1, 10),
)
def test_nearness_is_that_of_the_definition(rows: list[list[float]], most: int) -> None:
    near = nearness(np.array(rows, np.float32), most)
    expected = [plainly_near(row, i, most) for i, row in enumerate(rows)]
    np.testing.assert_allclose(near, expected, atol=1e-5)
    assert ((near > 0).sum(1) <= most).all()
    assert (near.sum(1) < 1).all()


def test_cosines_are_those_of_directions() -> None:
    vectors = np.random.default_rng(3).normal(size=(9, 7)).astype(np.float32)
    vectors[4] = 0  # a document without text, in some models
    found = cosines(vectors)
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
            assert found[i, j] == pytest.approx(float(one @ other) / (lengths or 1), abs=1e-6)


def test_scores_move_towards_the_neighbours() -> None:
    near = np.array([[0.0, 0.8, 0.0], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    scores = np.array([1.0, 3.0, 2.0], np.float32)
    assert smoothed(scores, near, 0.5).tolist() == pytest.approx([1.8, 2.1, 2.0])
    assert smoothed(scores, near, 0.0).tolist() == scores.tolist()


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
    """Forty documents in eight heaps; two parts. Ten of them have neighbours."""
    random = np.random.default_rng(8)
    heaps = random.normal(size=(8, 6))
    places = Places((heaps[np.arange(40) % 8] + random.normal(0, 0.4, (40, 6))).astype(np.float32))
    parts = [Known(name, random.gamma(1, 1, 40).tolist(), Named()) for name in ("words", "dense")]
    smooth = Smoothing(places, 0.3, 20, 4) if smoothing else None
    return Fused("f", tuple(parts), (0.5, 1.0), OpinionPool(), depth, smoothing=smooth), places


@pytest.mark.parametrize("depth", [3, 8, 40])
def test_a_smoothed_fusion_is_that_of_the_definition(depth: int) -> None:
    fusion, places = a_fusion(depth)
    plain, _ = a_fusion(depth, smoothing=False)
    everyone = np.arange(40)
    own = plain.scores("q", everyone, None, "document").astype(float)
    tops = [part.top("q", depth, None, "document")[0].ids.tolist() for part in fusion.parts]
    pool = sorted(set(tops[0]) | set(tops[1]))
    chosen = sorted(pool, key=lambda i: (-own[i], i))[:20]
    directions = places.table / np.linalg.norm(places.table, axis=1, keepdims=True)
    most = min(4, len(chosen) // 6)
    expected = own.copy()
    for at, i in enumerate(chosen):
        near = plainly_near((directions[chosen] @ directions[i]).tolist(), at, most)
        pulls = [n * (own[j] - own[i]) for n, j in zip(near, chosen, strict=True)]
        expected[i] += 0.3 * sum(pulls) * (most > 0)
    found = fusion.scores("q", everyone, None, "document")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - own).max() > 0.05 or not most
    assert found[chosen].min() >= own[chosen].min() - 1e-6

    k = min(depth, 6)
    [top] = fusion.top(["q"], k, None, "document")
    best = sorted(pool, key=lambda i: (-found[i], i))[:k]
    assert (top.ids.tolist(), top.scores.tolist()) == (best, found[best].tolist())
    [weighted] = fusion.top_weighted("q", k, [(0.5, 1.0)])
    for other in (*fusion.top(["q", "p"], k, None, "document"), weighted):
        assert (other.ids.tolist(), other.scores.tolist()) == (best, top.scores.tolist())
    for id in (0, best[0], *sorted(set(range(40)) - set(chosen))[:1]):
        tree = fusion.explain_id("q", id, None, "document")
        assert tree.value == pytest.approx(float(found[id]), rel=1e-5)
        assert tree.recompute() == pytest.approx(float(found[id]), rel=1e-5)
        named = tree.parts[-1].name == "smoothing over neighbours"
        assert named == (id in chosen and most > 0)


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
    assert share.value == 0.3
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
    for changes in ({"smoothing": 0.0}, {"dense_model": None}):
        path = tmp_path_factory.mktemp("none") / "x.index"
        with Engine.create(path, replace(tiny_settings, **changes)) as engine:  # type: ignore[arg-type]
            hybrid = engine.retriever("hybrid")
            assert isinstance(hybrid, Fused)
            assert hybrid.smoothing is None


@pytest.mark.parametrize("values", [(1.1,), (-0.1,), (0.3, 0), (0.3, 64, 0)], ids=str)
def test_illegal_values_are_refused(values: Any) -> None:
    _, places = a_fusion(4)
    with pytest.raises(BadQuery, match="illegal"):
        Smoothing(places, *values)
    with pytest.raises(BadQuery, match="illegal smoothing"):
        Settings(smoothing=1.5)
