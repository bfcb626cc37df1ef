"""Candidate lists against a slow oracle; the teacher's scores; batches; the files they lie in."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from searchlib import Engine
from searchlib.errors import BadInput, BadQuery
from searchlib.training.artefacts import write_arrays
from searchlib.training.batches import Material, batches
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
from searchlib.training.teacher import TeacherWeights, by_cross_encoder, over_list, over_pool
from searchlib.training.texts import PassageTexts, documents_of

QUERIES = [
    PseudoQuery("The cat is asleep on the roof.", "cat", "sentence", 0, 30),
    PseudoQuery("bread oven", "bread", "keywords", 0, 40),
    PseudoQuery("The boat is in the river.", "long", "sentence", 1080, 1105),
    PseudoQuery("light and water", "", "given"),
]
SETTINGS = MiningSettings(candidates=6, depth=4, random=2)


@pytest.fixture(scope="module")
def lists(engine: Engine) -> CandidateLists:
    return mine(engine, QUERIES, SETTINGS)


def test_lists_are_what_a_slow_oracle_finds(engine: Engine, lists: CandidateLists) -> None:
    """Pools are all tops together, scores are complete, and each retriever's best is in a list."""
    everything = np.arange(engine.snapshot.n_passages)
    for row, query in enumerate(QUERIES):
        pool: set[int] = set()
        bests = []
        all_scores = []
        for name in lists.retrievers:
            scores = engine.retriever(name).scores(query.text, everything, None, "passage")
            all_scores.append(scores)
            [top] = engine.retriever(name).top([query.text], SETTINGS.depth, None, "passage")
            pool |= set(top.ids.tolist())
            bests += top.ids[:1].tolist()
        complete = np.stack(all_scores)
        found = sorted(pool)
        np.testing.assert_allclose(
            lists.scores[row], complete[:, lists.passages[row]], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            lists.means[row], complete[:, found].mean(axis=1), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            lists.deviations[row], complete[:, found].std(axis=1), rtol=1e-3, atol=1e-4
        )
        assert len(set(lists.passages[row].tolist())) == 6
        assert set(bests) - {lists.passages[row, 0]} <= set(lists.passages[row].tolist())


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
        tuple(mine(engine, QUERIES, MiningSettings(6, 4, 2, seed)).passages[:, -1].tolist())
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


def test_the_teacher_is_a_weighted_sum_of_z_scores(lists: CandidateLists) -> None:
    weights = {"bm25_passage": 0.5, "dense": 1.0}
    over = over_pool(lists, TeacherWeights(weights))
    own = over_list(lists, TeacherWeights(weights))
    for row in range(len(lists)):
        expected = np.zeros(6)
        expected_own = np.zeros(6)
        for r, name in enumerate(lists.retrievers):
            scores = lists.scores[row, r].astype(float)
            share = weights.get(name, 0)
            expected += share * (scores - lists.means[row, r]) / lists.deviations[row, r]
            expected_own += share * (scores - scores.mean()) / scores.std()
        np.testing.assert_allclose(over[row], expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(own[row], expected_own, rtol=1e-3, atol=1e-4)
    assert over.dtype == own.dtype == np.float32


def test_a_retriever_that_says_nothing_counts_nothing() -> None:
    flat = np.zeros((1, 1, 3), np.float32)
    lists = CandidateLists(
        ("dense",), np.zeros((1, 3), np.int64), flat, flat[..., 0], flat[..., 0], np.array([True])
    )
    assert (over_pool(lists, TeacherWeights()) == 0).all()


def test_teacher_weights_out_of_range(lists: CandidateLists) -> None:
    for weights in ({"dense": -1.0}, {"dense": float("nan")}, {"dense": 0.0}, {}):
        with pytest.raises(BadQuery, match="teacher"):
            TeacherWeights(weights)
    with pytest.raises(BadQuery, match="only bm25_passage"):
        over_pool(lists, TeacherWeights({"colbert": 1.0}))


def test_a_cross_encoder_is_any_function() -> None:
    scores = by_cross_encoder(["aa", "b"], [["a", "aaa"], ["x", "bb"]], lambda query, texts: [
        float(text.count(query[0])) for text in texts
    ])  # fmt: skip
    assert scores.tolist() == [[1, 3], [0, 2]]
    for bad in (lambda query, texts: [1.0], lambda query, texts: [float("nan")] * len(texts)):
        with pytest.raises(BadQuery, match="cross-encoder"):
            by_cross_encoder(["a"], [["x", "y"]], bad)


def test_batches_say_what_the_lists_say(engine: Engine, lists: CandidateLists) -> None:
    texts = PassageTexts(engine.snapshot)
    teacher = over_pool(lists, TeacherWeights())
    material = Material(QUERIES, lists, texts, teacher)
    steps = list(islice(batches(material, 3, 4, seed=5, cut=0.0), 8))
    rows = [query.text for query in QUERIES]
    for batch in steps:
        assert batch.teacher is not None
        assert batch.teacher.shape == (3, 4)
        for query, documents, scores in zip(
            batch.queries, batch.documents, batch.teacher, strict=True
        ):
            row = rows.index(query)
            all_texts = texts(lists.passages[row])
            assert documents[0] == all_texts[0]
            for document, score in zip(documents, scores, strict=True):
                alike = [text == document for text in all_texts]
                assert score in teacher[row, alike]
    asked = [query for batch in steps for query in batch.queries]
    assert sorted(asked[:4]) == sorted(asked[4:8]) == sorted(rows)  # epochs
    later = list(islice(batches(material, 3, 4, seed=5, cut=0.0, start=5), 3))
    assert [batch.documents for batch in later] == [batch.documents for batch in steps[5:]]


def test_the_query_is_cut_out_of_its_own_document_only(
    engine: Engine, lists: CandidateLists
) -> None:
    material = Material(QUERIES, lists, PassageTexts(engine.snapshot))
    for batch in islice(batches(material, 4, 6, seed=0, cut=1.0), 3):
        assert batch.teacher is None
        for query, documents in zip(batch.queries, batch.documents, strict=True):
            if query == QUERIES[0].text:
                assert documents[0] == " The bird is in the tree."
            if query == QUERIES[1].text:
                assert documents[0].startswith("Bread Yeast")
    with pytest.raises(BadQuery, match="cut"):
        next(batches(material, 4, 6, seed=0, cut=2.0))
    with pytest.raises(BadQuery, match="batch"):
        next(batches(material, 4, 1, seed=0))


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
