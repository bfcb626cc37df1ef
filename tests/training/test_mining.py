"""Candidate lists against a slow oracle; the teacher's scores; batches; the files they lie in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from searchlib import Document, Engine, Settings
from searchlib.errors import BadInput, BadQuery
from searchlib.training.artefacts import write_arrays
from searchlib.training.drawing import DrawSettings, Material, draw
from searchlib.training.held_out import ndcg_of_lists, own_gains
from searchlib.training.mining import (
    CandidateLists,
    MiningSettings,
    mine,
    own_passages,
    read_lists,
    write_lists,
)
from searchlib.training.pairs import PairSettings, PseudoQuery, make_queries
from searchlib.training.teacher import CrossEncoded, Ensemble, TeacherWeights, together
from searchlib.training.texts import PassageTexts, documents_of, live_passages

QUERIES = [
    PseudoQuery("The cat is asleep on the roof.", "cat", "sentence", 0, 30),
    PseudoQuery("bread oven", "bread", "keywords", 0, 40),
    PseudoQuery("The boat is in the river.", "long", "sentence", 1080, 1105),
    PseudoQuery("light and water", "", "given"),
]
SETTINGS = MiningSettings(candidates=6, depth=4, random=2, background=10)


@pytest.fixture(scope="module")
def lists(engine: Engine) -> CandidateLists:
    return mine(engine, QUERIES, SETTINGS)


def test_lists_are_what_a_slow_oracle_finds(engine: Engine, lists: CandidateLists) -> None:
    """Scores are complete, means are of random passages, each retriever's best is in a list."""
    everything = np.arange(engine.snapshot.n_passages)
    spreads = []
    for row, query in enumerate(QUERIES):
        bests = []
        all_scores = []
        for name in lists.retrievers:
            scores = engine.retriever(name).scores(query.text, everything, None, "passage")
            all_scores.append(scores)
            [top] = engine.retriever(name).top([query.text], SETTINGS.depth, None, "passage")
            bests += top.ids[:1].tolist()
        complete = np.stack(all_scores)
        background = np.random.default_rng(SETTINGS.seed).permutation(len(everything))[:10]
        np.testing.assert_allclose(
            lists.scores[row], complete[:, lists.passages[row]], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            lists.means[row], complete[:, background].mean(axis=1), rtol=1e-4, atol=1e-4
        )
        spreads.append(complete[:, background].std(axis=1))
        assert len(set(lists.passages[row].tolist())) == 6
        assert set(bests) - {lists.passages[row, 0]} <= set(lists.passages[row].tolist())
    floor = np.median(spreads, axis=0) / 2
    np.testing.assert_allclose(lists.deviations, np.maximum(spreads, floor), rtol=1e-3, atol=1e-4)


def test_the_own_passage_comes_first(engine: Engine, lists: CandidateLists) -> None:
    snapshot = engine.snapshot
    assert lists.own.tolist() == [True, True, True, False]
    owners = snapshot.ids(snapshot.documents_of(lists.passages[:, 0]))
    assert owners[:3] == ["cat", "bread", "long"]
    first, count = snapshot.passages_of(int(snapshot.lookup(["long"])[0]))
    assert count > 2
    assert lists.passages[2, 0] == first + count - 1  # the boat is in the last passage
    assert own_passages(engine, QUERIES).tolist()[3] == -1


def test_the_seed_draws_the_random_ones(engine: Engine, lists: CandidateLists) -> None:
    again = mine(engine, QUERIES, SETTINGS)
    assert (again.passages == lists.passages).all()
    drawn = [
        tuple(mine(engine, QUERIES, MiningSettings(6, 4, 2, seed=seed)).passages[:, -1].tolist())
        for seed in range(6)
    ]
    assert len(set(drawn)) > 1


def test_answers_are_no_negatives(engine: Engine) -> None:
    """Of a query's relevant documents only its own is a candidate."""
    snapshot = engine.snapshot
    queries = [PseudoQuery("bread and water", "bread", "given"), PseudoQuery("x", "cat", "given")]
    lists = mine(engine, queries, SETTINGS, relevant=[["bread", "long", "gone"], ["cat"]])
    owners = snapshot.ids(snapshot.documents_of(lists.passages[0]))
    assert owners[0] == "bread"
    assert not {"bread", "long"} & set(owners[1:])
    everything = [name for name in snapshot.all_ids() if name != "cat"]
    with pytest.raises(BadInput, match="other than answers"):
        mine(engine, queries[:1], SETTINGS, relevant=[[*everything, "cat"]])


def test_a_corpus_smaller_than_a_list(engine: Engine) -> None:
    lists = mine(engine, QUERIES, MiningSettings(candidates=1000))
    n = engine.snapshot.n_passages
    assert (np.sort(lists.passages, axis=1) == np.arange(n)).all()


def test_deleted_documents_are_none(tmp_path: Path) -> None:
    """They keep their numbers until a merge; nothing may be made or drawn of them."""
    with Engine.create(tmp_path / "i", Settings(dense_model=None, sparse_model=None)) as engine:
        for part in range(3):
            names = [f"d{i}" for i in range(part * 8, part * 8 + 8)]
            engine.add(
                [Document(name, f"{name} number {name} is of part {part}") for name in names]
            )
        dead = ["d0", "d9", "d10", "d3"]
        engine.delete(dead)
        snapshot = engine.snapshot
        alive = {f"d{i}" for i in range(24)} - set(dead)
        assert {document.id for document in documents_of(snapshot)} == alive
        passages = live_passages(snapshot)
        assert sorted(snapshot.ids(snapshot.documents_of(passages))) == sorted(alive)
        queries = make_queries(lambda: documents_of(snapshot), PairSettings(most=30))
        lists = mine(engine, queries, MiningSettings(candidates=50, background=100))
        assert lists.passages.shape[1] == 20
        assert set(lists.passages.ravel().tolist()) == set(passages.tolist())


def test_a_document_that_is_gone(engine: Engine) -> None:
    with pytest.raises(BadInput, match="'dog'"):
        mine(engine, [PseudoQuery("a dog", "dog", "crop")], SETTINGS)


def test_lists_round_trip(tmp_path: Path, lists: CandidateLists) -> None:
    path = tmp_path / "lists.npz"
    write_lists(path, lists)
    again = read_lists(path)
    assert again.retrievers == lists.retrievers
    for name in ("passages", "scores", "means", "deviations", "own"):
        np.testing.assert_array_equal(getattr(again, name), getattr(lists, name))
    rows = np.array([2, 0])
    assert (lists.take(rows).passages == lists.passages[rows]).all()
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"lists\.npz"):
            read_lists(path)
    write_arrays(path, {"passages": lists.passages})
    with pytest.raises(BadInput, match="no candidate lists"):
        read_lists(path)


def test_nothing_pickled_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lists.npz"
    np.savez(path, passages=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadInput, match="damaged"):
        read_lists(path)


@pytest.mark.parametrize("values", [(1, 5, 0), (4, 0, 0), (4, 5, 4), (4, 5, -1)])
def test_mining_settings_out_of_range(values: tuple[int, int, int]) -> None:
    with pytest.raises(BadQuery, match="illegal"):
        MiningSettings(*values)


def test_the_teacher_is_a_weighted_sum_of_z_scores(engine: Engine, lists: CandidateLists) -> None:
    weights = {"bm25_passage": 0.5, "dense": 1.0}
    texts = [query.text for query in QUERIES]
    teacher = Ensemble(engine, texts, lists, TeacherWeights(weights))
    rows, passages = np.array([2, 0]), np.array([0, 3, 5, 8])
    found = teacher(rows, passages)
    assert found.dtype == np.float32
    for place, row in enumerate(rows.tolist()):
        expected = np.zeros(4)
        for r, name in enumerate(lists.retrievers):
            scores = engine.retriever(name).scores(texts[row], passages, None, "passage")
            spread = float(lists.deviations[row, r])
            if spread > 1e-9:
                z = (scores.astype(float) - lists.means[row, r]) / spread
                expected += weights.get(name, 0) * z
        np.testing.assert_allclose(found[place], expected, rtol=1e-3, atol=1e-3)


def test_a_retriever_that_says_nothing_counts_nothing() -> None:
    flat = np.zeros((1, 1), np.float32)
    assert (together(np.ones((1, 1, 3), np.float32), flat + 1, flat, flat[0] + 1) == 0).all()


def test_teacher_weights_out_of_range(engine: Engine, lists: CandidateLists) -> None:
    for weights in ({"dense": -1.0}, {"dense": float("nan")}, {"dense": 0.0}, {}):
        with pytest.raises(BadQuery, match="teacher"):
            TeacherWeights(weights)
    with pytest.raises(BadQuery, match="only bm25_passage"):
        Ensemble(engine, ["a"], lists, TeacherWeights({"colbert": 1.0}))


def test_a_cross_encoder_is_any_function(engine: Engine) -> None:
    texts = PassageTexts(engine.snapshot)
    teacher = CrossEncoded(["cat", "bread"], texts, lambda query, some: np.array(
        [text.lower().count(query) for text in some], np.float32
    ))  # fmt: skip
    assert teacher(np.array([1, 0]), np.array([2, 1])).tolist() == [[2, 0], [0, 1]]
    for bad in ([1.0], [float("nan")] * 2):
        with pytest.raises(BadQuery, match="cross-encoder"):
            CrossEncoded(["a"], texts, lambda q, t, b=bad: np.array(b))(
                np.array([0]), np.array([1, 2])
            )


def material(engine: Engine, lists: CandidateLists, labels: bool = False) -> Material:
    texts, count = PassageTexts(engine.snapshot), live_passages(engine.snapshot)
    if labels:
        answers = [{1}, {2}, {14, 13}, {0, 4}]
        return Material(QUERIES, lists, texts, count, answers=answers)
    teacher = Ensemble(engine, [query.text for query in QUERIES], lists, TeacherWeights())
    return Material(QUERIES, lists, texts, count, teacher)


def test_a_batch_says_what_teacher_and_labels_say(engine: Engine, lists: CandidateLists) -> None:
    settings = DrawSettings(queries=2, documents=5, hard=2, near=0, cut=0)
    texts = PassageTexts(engine.snapshot)
    every = texts(np.arange(engine.snapshot.n_passages))
    rows = {query.text: row for row, query in enumerate(QUERIES)}
    seen = set()
    for step in range(20):
        taught = draw(material(engine, lists), settings, np.random.default_rng(step))
        told = draw(material(engine, lists, True), settings, np.random.default_rng(step))
        assert (taught.queries, taught.documents) == (told.queries, told.documents)
        assert taught.teacher is not None
        assert told.positives is not None
        assert taught.teacher.shape == told.positives.shape == (2, 5)
        for b, query in enumerate(taught.queries):
            row = rows[query]
            seen.add(row)
            assert every[lists.passages[row, 0]] in taught.documents
            for n, document in enumerate(taught.documents):
                numbers = [i for i, text in enumerate(every) if text == document]
                answers = material(engine, lists, True).answers
                assert answers is not None
                if told.positives[b, n]:
                    assert set(numbers) & set(answers[row])
                scores = material(engine, lists).teacher(np.array([row]), np.array(numbers))  # type: ignore[misc]
                assert np.isclose(scores, taught.teacher[b, n], atol=1e-4).any()
    assert seen == {0, 1, 2, 3}


def test_equal_generators_draw_equal_batches(engine: Engine, lists: CandidateLists) -> None:
    some = material(engine, lists)
    one, other, third = (
        draw(some, DrawSettings(queries=3, documents=8), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert (one.queries, one.documents) == (other.queries, other.documents)
    assert (one.queries, one.documents) != (third.queries, third.documents)


def test_the_query_is_cut_out_of_its_own_document_only(
    engine: Engine, lists: CandidateLists
) -> None:
    settings = DrawSettings(queries=4, documents=12, cut=1)
    cat, plain = " The bird is in the tree.", PassageTexts(engine.snapshot)([1])[0]
    for step in range(3):
        batch = draw(material(engine, lists), settings, np.random.default_rng(step))
        assert cat in batch.documents
        assert plain not in batch.documents
        assert any(document.startswith("Bread Yeast") for document in batch.documents)


def test_a_batch_is_of_queries_near_each_other(engine: Engine, lists: CandidateLists) -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    some = replace(material(engine, lists), vectors=vectors)
    settings = DrawSettings(queries=2, documents=6, near=1)
    rows = {query.text: row for row, query in enumerate(QUERIES)}
    for step in range(10):
        batch = draw(some, settings, np.random.default_rng(step))
        assert {rows[query] for query in batch.queries} in ({0, 1}, {2, 3})


@pytest.mark.parametrize(
    "values",
    [{"queries": 0}, {"documents": 16}, {"hard": 0}, {"near": -1}, {"cut": 1.5}],
)
def test_draw_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(BadQuery, match=next(iter(values))):
        DrawSettings(**values)  # type: ignore[arg-type]


def test_texts_are_what_the_encoders_read(engine: Engine) -> None:
    splitter = engine.splitter()
    texts = PassageTexts(engine.snapshot)
    expected = [p.text for document in documents_of(engine.snapshot) for p in splitter(document)]
    assert texts(np.arange(engine.snapshot.n_passages)) == expected


def test_queries_of_an_index(engine: Engine) -> None:
    queries = make_queries(lambda: documents_of(engine.snapshot), PairSettings(most=30))
    assert (own_passages(engine, queries) >= 0).all()


def test_ndcg_of_lists() -> None:
    scores = np.array([[3.0, 2, 1], [1, 2, 3], [0, 0, 0]], np.float32)
    found = ndcg_of_lists(scores, own_gains((3, 3)))
    np.testing.assert_allclose(found, [1, 0.5, 0.5])  # of equal ones the first comes last
    assert ndcg_of_lists(scores, np.zeros((3, 3), np.float32)).tolist() == [0, 0, 0]
    long = np.arange(20, dtype=np.float32)[None]
    assert ndcg_of_lists(long, own_gains((1, 20))).tolist() == [0]
