"""The engine as its users meet it: every retriever, unit, filter, explanation and change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import WORDS, make_bert

from indexes.errors import BadFilter, Damaged, IndexExists, NoIndex
from searchlib import Document, Engine, Settings
from searchlib.encoders.pruning import Pruning
from searchlib.errors import BadInput, BadQuery, ModelMismatch, NotFound
from searchlib.fusion import min_max, theoretical_min_max
from searchlib.methods import ReciprocalRank
from searchlib.naming import find_id
from searchlib.provenance import term_sources

RETRIEVERS = [
    "bm25", "bm25_passage", "sparse", "lookup", "dense", "static", "hybrid", "instant",
]  # fmt: skip
QUERIES = ["the blues song", "bread in the oven", "boat on a river", "cat"]
WORDS_ONLY = Settings(dense_model=None, sparse_model=None)


def fusions(engine: Engine) -> dict[str, Any]:
    parts = ("bm25", "sparse", "dense")
    return {
        "rrf": engine.fused(parts, method=ReciprocalRank(), depth=5),
        "min-max": engine.fused(parts, method=min_max, weights=(1, 2, 3)),
        "tmm": engine.fused(
            ("bm25", "dense"), method=(theoretical_min_max(0), theoretical_min_max(-1))
        ),
        "nested": engine.fused((engine.fused(("bm25", "sparse"), depth=3), "dense")),
        "shallow": engine.fused(parts, depth=1),
    }


@pytest.mark.parametrize("unit", ["document", "passage"])
@pytest.mark.parametrize("name", [*RETRIEVERS, "rrf", "min-max", "tmm", "nested", "shallow"])
def test_every_score_is_explained(engine: Engine, name: str, unit: Any) -> None:
    retriever = name if name in RETRIEVERS else fusions(engine)[name]
    for query in QUERIES:
        hits = engine.search(query, 20, retriever=retriever, unit=unit, explain=True)
        assert hits
        for hit in hits:
            assert hit.explanation is not None
            assert hit.explanation.value == pytest.approx(hit.score, rel=1e-4, abs=1e-4)
            assert hit.explanation.recompute() == pytest.approx(hit.score, rel=1e-4, abs=1e-4)
        explained = engine.explain(query, hits[0].id, retriever=retriever)
        if unit == "document":
            assert explained == hits[0].explanation


@pytest.mark.parametrize("name", RETRIEVERS)
def test_k_batches_and_units_agree(engine: Engine, name: str) -> None:
    everything = engine.rank(QUERIES, 100, retriever=name)
    for query, ranking in zip(QUERIES, everything, strict=True):
        single = engine.rank([query], 100, retriever=name)[0]
        assert single.ids == ranking.ids
        assert single.scores == pytest.approx(ranking.scores, abs=1e-4)
        assert engine.rank([query], 2, retriever=name)[0].ids == ranking.ids[:2]
        assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
        assert len(set(ranking.ids)) == len(ranking.ids)


@pytest.mark.parametrize("name", ["bm25_passage", "sparse", "lookup", "dense"])
def test_a_document_scores_as_its_best_passage(engine: Engine, name: str) -> None:
    for query in QUERIES:
        documents = engine.rank([query], 100, retriever=name)[0]
        passages = engine.rank([query], 100, retriever=name, unit="passage")[0]
        best: dict[str, float] = {}
        for id, score in passages:
            best.setdefault(id.rpartition("#")[0], score)
        assert dict(documents) == pytest.approx(best, abs=1e-5)


def test_dense_and_sparse_equal_brute_force(engine: Engine) -> None:
    snapshot = engine.snapshot
    passages = []
    for record in snapshot.records(np.arange(7)):
        passages += [
            f"{record.title} {record.text[start:end]}".strip() for start, end in record.passages
        ]
    dense = engine.retriever("dense").queries.encoder  # type: ignore[attr-defined]
    sparse = engine.retriever("sparse").queries.encoder  # type: ignore[attr-defined]
    for query in QUERIES:
        similarities = dense.encode_document(passages) @ dense.encode_query([query])[0]
        similarities[[not passage for passage in passages]] = 0  # no text is like nothing
        top = engine.rank([query], 100, retriever="dense", unit="passage")[0]
        assert top.scores == pytest.approx(np.sort(similarities)[::-1], abs=1e-4)
        row = sparse.encode_query([query]).row(0)
        vectors = sparse.encode_document(passages)
        rows = [vectors.row(i) if passage else {} for i, passage in enumerate(passages)]
        holders = {term: sum(term in held for held in rows) for term in row}
        idf = {
            term: np.log(1 + (len(rows) - df + 0.5) / (df + 0.5)) ** engine.settings.sparse_idf
            for term, df in holders.items()
        }
        products = [sum(row[t] * idf[t] * w for t, w in held.items() if t in row) for held in rows]
        top = engine.rank([query], 100, retriever="sparse", unit="passage")[0]
        found = sorted((p for p in products if p > 0), reverse=True)
        assert top.scores == pytest.approx(found, rel=2e-3)  # weights are stored as float16


@pytest.mark.parametrize("name", RETRIEVERS)
def test_filters_hold_before_the_best_are_taken(engine: Engine, name: str) -> None:
    ranking = engine.rank(["the in"], 2, retriever=name, where="year >= 2005")[0]
    allowed = {"cat", "bread", "x/y \U0001f43f#1", "long"}
    assert len(ranking) == 2 or name in {"lookup", "bm25", "bm25_passage"}
    assert set(ranking.ids) <= allowed
    hits = engine.search("the", 9, retriever=name, where="year < 1900")
    assert hits == []
    for hit in engine.search("bread", 9, retriever=name, where="year > 1", explain=True):
        assert hit.explanation is not None
        assert hit.explanation.recompute() == pytest.approx(hit.score, abs=1e-4)
        again = engine.explain("bread", hit.id, retriever=name, where="year > 1")
        assert again == hit.explanation


def test_hits_tell_where_and_why(engine: Engine) -> None:
    hit = engine.search("boat river", 1, retriever="bm25")[0]
    assert (hit.rank, hit.id, hit.document, hit.title) == (1, "long", "long", "School")
    assert hit.metadata == {"year": 2021}
    assert "The **boat** is in the **river**." in hit.snippet
    assert hit.marked_title == "School"
    assert engine.search("boat schools", 1, retriever="bm25")[0].marked_title == "**School**"
    assert hit.passage > 0
    passage = engine.search("boat river", 1, retriever="bm25", unit="passage")[0]
    assert passage.id == f"long#{hit.passage}"
    assert (passage.start, passage.end) == (hit.start, hit.end)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_the_passage_shown_is_the_best_of_the_document(engine: Engine, name: str) -> None:
    for query in QUERIES:
        passages = engine.rank([query], 100, retriever=name, unit="passage")[0]
        for hit in engine.search(query, 20, retriever=name):
            if name == "hybrid":  # its weights are of the pool that is ranked, here of documents
                document = find_id(engine.snapshot, hit.id)[0]
                first, count = engine.snapshot.passages_of(document)
                own_passages = np.arange(first, first + count)
                scores = engine.retriever(name).passage_scores(query, own_passages, None)
                assert scores[hit.passage] == scores.max()
                continue
            own = [id for id, _ in passages if id.rpartition("#")[0] == hit.id]
            assert own[:1] in ([f"{hit.id}#{hit.passage}"], [])


def test_odd_ids_are_found_and_explained(engine: Engine) -> None:
    odd = "x/y \U0001f43f#1"
    assert engine.search("doctor", 1, retriever="bm25")[0].id == odd
    assert engine.explain("doctor", odd, retriever="bm25").value > 0
    assert engine.explain("doctor", f"{odd}#0", retriever="bm25").value > 0
    with pytest.raises(NotFound, match="no document 'nobody'"):
        engine.explain("doctor", "nobody")
    with pytest.raises(NotFound, match="has passages #0 to #0, not #7"):
        engine.explain("doctor", "cat#7")
    with pytest.raises(NotFound, match="has passages #0 to #0, not #999"):
        engine.explain("doctor", "cat#" + "9" * 5000)


def test_a_document_that_was_not_found_is_explained_too(engine: Engine) -> None:
    explanation = engine.explain("blues", "bread", retriever="bm25")
    assert (explanation.value, explanation.parts) == (0, ())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e.search(" \n"), BadQuery, "the query is empty"),
        (lambda e: e.search("a", 0), BadQuery, "illegal k: 0"),
        (lambda e: e.rank(["a"], -1), BadQuery, "illegal k: -1"),
        (lambda e: e.search("a", retriever="bm52"), BadQuery, "unknown retriever 'bm52'"),
        (lambda e: e.search("a", where="year >"), BadFilter, "at character 7: year >⟨here⟩"),
        (lambda e: e.expand(""), BadQuery, "the text is empty"),
        (lambda e: e.expand("a", 0), BadQuery, "illegal k: 0"),
    ],
)
def test_careless_calls_get_one_clear_line(
    engine: Engine, call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call(engine)
    assert "\n" not in str(caught.value)


def test_a_query_of_ten_thousand_words_is_answered(engine: Engine) -> None:
    query = "bread " + "unknown " * 10_000
    assert engine.search(query, 1, retriever="bm25")[0].id == "bread"
    assert len(engine.search(query, 3)) == 3


def test_expansion_says_what_the_text_has_itself(engine: Engine) -> None:
    terms = engine.expand("the cat sleeps")
    assert {t.term for t in terms if t.source == "text"} <= {"the", "cat", "sleep", "##s"}
    assert any(t.source == "expansion" for t in terms)
    assert [t.weight for t in terms] == sorted((t.weight for t in terms), reverse=True)
    assert engine.expand("the cat sleeps", 2) == terms[:2]


def test_an_expansion_term_is_traced_to_the_words_it_came_from(engine: Engine) -> None:
    words = {"the", "cat", "is", "asleep", "on", "roof", ".", "bird", "in", "tree", ""}
    explanation = engine.explain("the cat and the bird on the roof", "cat", retriever="sparse")
    notes = [node.parts[1].note for node in explanation.parts]
    traced = [note.split("“")[1].split("”")[0].lower() for note in notes if "“" in note]
    assert traced
    assert set(traced) <= words


def test_sources_are_the_tokens_of_the_largest_logits(engine: Engine, tiny_sparse: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertForMaskedLM

    text = "The cat is asleep on the roof. A bird sings."
    tokens = Tokenizer.from_file(str(tiny_sparse / "tokenizer.json")).encode(text)
    model = BertForMaskedLM.from_pretrained(tiny_sparse).eval()
    with torch.no_grad():
        winners = model(input_ids=torch.tensor([tokens.ids])).logits[0].argmax(0).tolist()
    encoder = engine.retriever("sparse").queries.encoder  # type: ignore[attr-defined]
    sources = term_sources(encoder, text)
    assert len(set(sources.values())) > 3
    for term, source in sources.items():
        assert source == text[slice(*tokens.offsets[winners[WORDS.index(term)]])], term


def test_adding_again_encodes_nothing_and_changes_replace(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        assert engine.add(corpus).added == 7
        generation = engine.info()["generation"]
        report = engine.add(corpus)
        assert (report.added, report.unchanged, report.passages) == (0, 7, 0)
        assert engine.info()["generation"] == generation
        report = engine.add([replace(corpus[1], text="A dog writes code."), corpus[0]])
        assert (report.added, report.updated, report.unchanged) == (0, 1, 1)
        assert engine.search("dog code", 1, retriever="bm25")[0].id == "cat"
        assert engine.search("roof", 1, retriever="bm25") == []
        assert engine.delete(["cat", "nobody"]) == 1
        assert engine.info()["documents"] == 6
        assert engine.verify() == []


def test_scores_do_not_depend_on_how_the_index_came_about(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    with Engine.create(tmp_path / "one", tiny_settings) as once:
        once.add(corpus)
        with Engine.create(tmp_path / "two", tiny_settings) as slowly:
            for document in corpus:
                slowly.add([replace(document, text="song " * 9), Document("gone", "the cat song")])
                slowly.add([document])
            slowly.delete(["gone"])
            for name in RETRIEVERS:
                for query in QUERIES:
                    expected = dict(once.rank([query], 9, retriever=name)[0])
                    found = dict(slowly.rank([query], 9, retriever=name)[0])
                    assert found == pytest.approx(expected, abs=1e-5), name


def test_bad_ids_stop_the_run_or_are_counted(tmp_path: Path) -> None:
    given = [Document("a", "one"), Document("a", "two"), Document("", "three"), Document("b", "4")]
    sourced = [(document, f"f:{i}") for i, document in enumerate(given, 1)]
    with Engine.create(tmp_path / "i", WORDS_ONLY) as engine:
        with pytest.raises(BadInput, match="f:2: id 'a' was already given at f:1"):
            engine.add(sourced)
        with pytest.raises(
            BadInput, match="document 1: the metadata of 'n' cannot be kept: must be JSON"
        ):
            engine.add([Document("n", "text", metadata={"x": float("nan")})])
        problems: list[str] = []
        report = engine.add(sourced, skip_bad=True, on_bad=problems.append)
        assert (report.added, report.skipped) == (2, 2)
        assert "f:3: empty document id" in problems[1]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda e: e.add(Document("a", "b")), "documents must be a list or the like, not"),
        (lambda e: e.add(None), "not NoneType; write [document]"),
        (lambda e: e.add(3), "not int; write [document]"),
        (lambda e: e.update([("a",)]), "changes must be pairs of an id, a text, and a dict, not "),
        (lambda e: e.update(["ab"]), "a dict, not 'ab'"),
        (lambda e: e.update([3]), "a dict, not 3"),
        (lambda e: e.update([({}, {})]), "a dict, not ({}, {})"),
        (lambda e: e.delete("id " * 999), "ids must be a list of texts, not 'id id id "),
        (lambda e: e.update("{} " * 999), "or pairs, not '{} {} "),
        (lambda e: e.update([("a", "{} " * 999)]), "a dict, not ('a', '{} {} "),
        (lambda e: e.browse(where=["x"] * 999), "illegal filter: ['x', 'x', "),
        (lambda e: e.explain("cat", "a#" + "9" * 999), "not #999"),
        (lambda e: e.update("abc"), "changes must be a dict, {id: changes}, or pairs, not 'abc'"),
        (lambda e: e.update(None), "or pairs, not None"),
        (lambda e: e.replace_metadata(3), "or pairs, not 3"),
        (lambda e: e.delete(None), "ids must be a list of texts, not None; write [id]"),
        (lambda e: e.delete(3), "ids must be a list of texts, not 3; write [id]"),
        (lambda e: e.delete_where(None), "illegal filter: None, must be a text such as"),
        (lambda e: e.ids_where(None), "illegal filter: None, must be a text such as"),
        (lambda e: e.ids_where(["x"]), "illegal filter: ['x'], must be a text such as"),
        (lambda e: e.browse(where=3), "illegal filter: 3, must be a text such as"),
        (lambda e: e.browse(sort=3), "illegal field: 3, must be a text such as 'year'"),
        (lambda e: e.browse(sort=None), "illegal field: None, must be a text such as 'year'"),
        (lambda e: e.search("cat", retriever="bm25", sort=3), "illegal field: 3, must be a text"),
        (lambda e: e.facets(3), "illegal field: 3, must be a text such as 'year'"),
        (lambda e: e.page("cat", cursor=3), "3 is no cursor but int; take a page's own"),
        (lambda e: e.page(cursor=b"x"), "b'x' is no cursor but bytes; take a page's own"),
        (lambda e: e.page("cat", retriever=3), "must be a name, not int"),
        (lambda e: e.page("cat", retriever=e.retriever("bm25")), "must be a name, not"),
        (lambda e: e.page("cat", sort=3), "illegal field: 3, must be a text such as 'year'"),
        (lambda e: e.page("cat", sort={1}), "illegal field: {1}, must be a text such as 'year'"),
        (lambda e: e.page(where={1}), "illegal filter: {1}, must be a text such as"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(
    tmp_path: Path, ask: Callable[[Engine], object], said: str
) -> None:
    with Engine.create(tmp_path / "i", WORDS_ONLY) as engine:
        engine.add([Document("a", "the cat"), Document("b", "the cat")])
        with pytest.raises((BadInput, BadQuery, BadFilter, NotFound)) as caught:
            ask(engine)
        assert said in str(caught.value)
        assert len(str(caught.value)) < 200
        assert engine.snapshot.n_documents == 2
        engine.delete(["a"])  # no lock is left


def test_what_is_said_of_an_index_that_was_removed(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i", WORDS_ONLY) as engine:
        shutil.rmtree(tmp_path / "i")
        with pytest.raises(NoIndex, match="is not there any more"):
            engine.info()


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"d": date(2024, 5, 1)},
            "'d' is of type date, datetime.date(2024, 5, 1); write it as a text, \"2024-05-01\"",
        ),
        ({"a": 1, "b": [0, {"c": float("nan")}]}, "'b[1].c' is nan; write None, or leave it out"),
        ({"x": -float("inf")}, "'x' is -inf; write None, or leave it out"),
        ({"tags": {"new"}}, "'tags' is of type set, {'new'}; write a list"),
        ({"raw": b"x"}, "'raw' is of type bytes, b'x'; write a text, a number, a list or a dict"),
        ({"n": np.int64(3)}, "'n' is of type int64, "),
        ({"by": {("a", 1): "x"}}, "the key ('a', 1) of 'by' is of type tuple; write a text"),
        ({"a": 1, 2: 3}, "the key 2 is of type int; write a text"),
        ({"a": deep(101)}, " nested more than 100 levels deep"),
        ({"a": deep(5000)}, " nested more than 100 levels deep"),
        ({"n": 10**5000}, "Exceeds the limit"),
        ({"long": {"x" * 100}}, "'long' is of type set, {'" + "x" * 58 + "...; write a list"),
    ],
)
def test_metadata_that_cannot_be_stored(tmp_path: Path, metadata: Any, said: str) -> None:
    with Engine.create(tmp_path / "i", WORDS_ONLY) as engine:
        for add in (
            lambda: engine.add([Document("bad", "text", metadata=metadata)]),
            lambda: engine.update({"good": metadata}),
        ):
            engine.add([Document("good", "text", metadata=deep(99))])
            with pytest.raises(BadInput) as caught:
                add()
            message = str(caught.value)
            assert said in message
            assert "d' cannot be kept: must be JSON, but " in message or "changes" in message
            assert "\n" not in message
            assert len(message) < 250


def test_another_model_is_refused(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    model = make_bert(tmp_path / "model", masked=False, seed=5)
    settings = replace(tiny_settings, dense_model=str(model), sparse_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(corpus[:1])
    make_bert(model, masked=False, seed=6)
    with Engine.open(tmp_path / "i") as engine:
        assert engine.search("blues", retriever="bm25")
        with pytest.raises(ModelMismatch, match="'dense' was built with another model"):
            engine.search("blues")
        with pytest.raises(ModelMismatch):
            engine.add(corpus)


def test_an_index_without_models_has_words_only(tmp_path: Path, corpus: list[Document]) -> None:
    with Engine.create(tmp_path / "i", WORDS_ONLY) as engine:
        engine.add(corpus)
        assert engine.retriever_names() == ["bm25", "bm25_passage", "hybrid"]
        hybrid, bm25 = engine.search("blues")[0], engine.search("blues", retriever="bm25")[0]
        assert hybrid == bm25
        assert (hybrid.id, hybrid.score > 0) == ("blues", True)
        with pytest.raises(
            BadQuery, match="unknown retriever 'dense'; this index has bm25, bm25_passage, hybrid"
        ):
            engine.search("blues", retriever="dense")
        with pytest.raises(BadQuery, match="made without sparse vectors"):
            engine.expand("blues")


def test_a_model_folder_may_be_given_relatively(
    tmp_path: Path, tiny_dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_dense.parent)
    settings = Settings(dense_model=tiny_dense.name, sparse_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add([Document("a", "the cat")])
    monkeypatch.chdir(tmp_path)
    with Engine.open("i") as engine:
        assert engine.search("cat", retriever="dense")[0].id == "a"


def test_one_passage_a_document_when_asked(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    settings = replace(tiny_settings, max_passages=1)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(corpus)
        assert engine.info()["passages"] == engine.info()["documents"] == 7
    with Engine.create(tmp_path / "two", replace(tiny_settings, max_passages=2)) as engine:
        engine.add(corpus)
        ids = engine.rank(["book"], 99, retriever="dense", unit="passage")[0].ids
        assert sorted(id for id in ids if id.startswith("long#")) == ["long#0", "long#1"]


def test_queries_are_pruned_whatever_makes_them(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    """By a model or by its table; by default every term stays."""
    query = "the bread in the oven"

    def terms(engine: Engine, name: str) -> dict[str, float]:
        encoder = engine.retriever(name).queries.encoder  # type: ignore[attr-defined]
        found: dict[str, float] = encoder.encode_query([query]).row(0)
        return found

    pruned = replace(tiny_settings, sparse_queries=Pruning(top_k=2))
    with (
        Engine.create(tmp_path / "a", tiny_settings) as whole,
        Engine.create(tmp_path / "b", pruned) as few,
    ):
        whole.add(corpus)
        few.add(corpus)
        for name in ("sparse", "lookup"):
            every = terms(whole, name)
            assert len(every) > 4
            assert terms(few, name) == {
                term: every[term] for term in sorted(every, key=every.__getitem__)[-2:]
            }
        assert few.rank([query], 7, retriever="lookup") != whole.rank(
            [query], 7, retriever="lookup"
        )


def test_folders_that_hold_no_index(tmp_path: Path) -> None:
    with pytest.raises(NoIndex):
        Engine.open(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(IndexExists):
        Engine.create(tmp_path / "full", WORDS_ONLY)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"b": 1.4}, "illegal b value: 1.4, must be between 0 and 1"),
        ({"k1": -1}, "illegal k1 value: -1"),
        ({"passage_tokens": 4}, "illegal passage_tokens: 4"),
        ({"overlap": 300}, "illegal overlap: 300"),
        ({"max_passages": 0}, "illegal max_passages: 0"),
        ({"dense_kind": "ivf"}, "illegal dense_kind: 'ivf'"),
        ({"dense_weight": float("nan")}, "illegal dense_weight: nan"),
        ({"dense_modle": "x"}, "unknown setting 'dense_modle'; did you mean 'dense_model'"),
    ],
)
def test_illegal_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        Settings.from_json(values)


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("sparse_documents", None, "a Pruning"),
        ("calibration", 3, "a Calibration or None"),
        ("dense_model", 7, "a text or None"),
        ("static_queries", 4, "a text or None"),
        ("language", None, "a text"),
        ("overlap", 3.0, "a whole number"),
        ("smoothing", True, "a finite number"),
        ("k1", 10**400, "a finite number"),
        ("dense_kind", ["pq"], "auto or exact or pq"),
    ],
)
def test_settings_of_another_type_are_refused(name: str, value: Any, must_be: str) -> None:
    """Before a folder is made that nobody could open."""
    with pytest.raises(BadQuery) as refused:
        Settings(**{name: value})
    assert str(refused.value) == f"illegal {name}: {repr(value)[:60]}, must be {must_be}"


def test_settings_survive_a_round_trip(tiny_settings: Settings) -> None:
    assert Settings.from_json(tiny_settings.to_json()) == tiny_settings


def test_a_text_that_is_not_what_was_indexed_explains_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    [hit] = engine.search("bread", 1, retriever="sparse")
    monkeypatch.setattr(engine, "splitter", lambda: lambda document: [])
    with pytest.raises(Damaged, match=r"the text of .* has changed; see verify"):
        engine.explain("bread", hit.id, retriever="sparse")
