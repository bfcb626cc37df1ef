"""Fitting query vectors to an index, searching with them, and changing them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import WORDS, make_bert

from searchlib import Document, Engine, Settings
from searchlib.encoders.backbone import Backbone
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.static_queries import StaticQueries
from searchlib.errors import BadInput, BadQuery, ModelMismatch, ModelNotFound
from searchlib.training.corpus import index_sample
from searchlib.training.distill import Sample
from searchlib.training.static_queries import (
    Lessons,
    Plan,
    fit_index,
    lessons_of,
    runs_of_words,
)

PLAIN = [word for word in WORDS if word.isalpha()]
PLAN = Plan(sample=200, runs=400, epochs=200)


@pytest.fixture
def engine(tmp_path: Path, tiny_settings: Settings) -> Iterator[Engine]:
    rng = np.random.default_rng(3)
    settings = replace(tiny_settings, static_queries="searchlib/glance")
    with Engine.create(tmp_path / "i", settings) as made:
        made.add(
            Document(f"d{i}", " ".join(rng.choice(PLAIN, int(rng.integers(3, 40)))), "Song")
            for i in range(60)
        )
        yield made


def test_runs_of_words() -> None:
    texts = ["one two three four five six", "seven"]
    runs = runs_of_words(texts, 60, 0)
    assert len(runs) == 60
    assert runs == runs_of_words(texts, 60, 0) != runs_of_words(texts, 60, 1)
    assert all(run in texts[text] for text, run in runs[0::3] + runs[1::3])
    assert all(run.endswith(tuple(texts[text].split())) and " " in run for text, run in runs[2::3])


def test_what_is_held_out_is_of_passages_that_are_not_trained_on() -> None:
    numbers = np.arange(400)
    pieces = [np.array([n], np.int32) for n in numbers]
    vectors = numbers[:, np.newaxis].astype(np.float32)
    lessons = Lessons(pieces, vectors, numbers % 100, np.zeros(1, np.float32))
    held, rest = lessons.split(0)
    assert set(held.passages).isdisjoint(rest.passages)
    assert len(set(held.passages)) == 2
    assert len(held.pieces) + len(rest.pieces) == 400
    assert held.vectors[:, 0].tolist() == [float(ids[0]) for ids in held.pieces]


def test_it_comes_near_to_the_model_and_serves_the_index(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "static" not in engine.retriever_names()  # the table that comes along is another's
    steps: list[tuple[int, int | None]] = []

    def seen(done: int, total: int | None, note: str = "") -> None:
        steps.append((done, total))

    report = fit_index(engine, tmp_path / "t", PLAN, on_progress=seen)
    assert report.passages >= 60
    assert report.cosine > report.before
    assert steps[-1][0] == steps[-1][1]
    said = json.loads((tmp_path / "t" / "queries.json").read_text())
    assert said["dense_fingerprint"] == engine.snapshot.fields["dense"].encoder["fingerprint"]
    assert "no labels" in (tmp_path / "t" / "README.md").read_text()

    engine.reencode(replace(engine.settings, static_queries=str(tmp_path / "t")))
    assert engine.retriever_names()[-4:] == ["dense", "static", "hybrid", "instant"]
    engine.rank(["song"], 1, retriever="lookup")  # its expansions are made once, by the model

    def forbidden(*_: object) -> Any:
        raise AssertionError("a model was run")

    monkeypatch.setattr(Backbone, "run", forbidden)
    query = " ".join(PLAIN[:3])
    static = dict(engine.rank([query], 80, retriever="static")[0])
    vectors = StaticQueries(tmp_path / "t").encode_query([query])
    stored = engine.snapshot.stored_rows("dense", np.arange(engine.snapshot.n_passages))
    assert isinstance(stored, np.ndarray)
    assert max(static.values()) == pytest.approx(float((stored @ vectors[0]).max()), abs=1e-5)
    assert len(engine.search(query, 5, retriever="instant")) == 5


def test_explanations_add_up(engine: Engine, tmp_path: Path) -> None:
    fit_index(engine, tmp_path / "t", PLAN)
    engine.reencode(replace(engine.settings, static_queries=str(tmp_path / "t")))
    query = " ".join(PLAIN[3:6])
    for retriever in ("static", "lookup", "instant"):
        [(best, score), *_] = engine.rank([query], 3, retriever=retriever)[0]
        explanation = engine.explain(query, best, retriever=retriever)
        assert explanation.value == pytest.approx(score, rel=1e-4)
    static = engine.explain(query, best, retriever="static")
    while static.how != "sum" or not any(part.name in PLAIN for part in static.parts):
        static = static.parts[0]
    assert [part.name for part in static.parts] == PLAIN[3:6]
    assert sum(part.value for part in static.parts) == pytest.approx(static.value, abs=1e-5)


def test_lookup_takes_in_what_the_table_says_of_the_blends_dense_model(
    engine: Engine, tmp_path: Path
) -> None:
    from searchlib.encoders.blend import mixed
    from searchlib.encoders.lookup import LookupEncoder
    from searchlib.encoders.terms import Terms
    from searchlib.training.blending import fit_blend

    fit_index(engine, tmp_path / "t", PLAN)
    fit_blend(engine, tmp_path / "b")
    table = StaticQueries(tmp_path / "t")
    plain, blended = (LookupEncoder(tmp_path / "b", static=s) for s in (None, table))
    query = " ".join(PLAIN[:2])
    before, after = plain.encode_query([query]), blended.encode_query([query])
    assert before.row(0) != after.row(0)
    assert plain.fingerprint != blended.fingerprint
    layout, map = blended._layout.blend, blended._map
    assert layout is not None
    ids = np.array([blended.tokenizer.id(t) for t in before.row(0)], np.int32)
    order = np.argsort(ids)
    terms = Terms(ids[order], np.array(list(before.row(0).values()), np.float32)[order])
    [made] = mixed(
        [terms], table.encode_query([query]), map, layout.query_share, layout.extra_query_terms
    )
    expected = {
        blended.tokenizer.term(int(id)): float(w)
        for id, w in zip(made.ids, made.weights, strict=True)
    }
    assert after.row(0) == pytest.approx(expected, rel=1e-5)


def test_a_table_for_another_model_is_refused_and_the_old_one_stays(
    engine: Engine, tmp_path: Path
) -> None:
    fit_index(engine, tmp_path / "t", PLAN)
    other = make_bert(tmp_path / "other", masked=False, seed=9)
    table = replace(engine.settings, static_queries=str(tmp_path / "t"))
    engine.reencode(table)
    generation = engine.snapshot.generation
    with pytest.raises(ModelMismatch, match="another dense model"):
        engine.reencode(replace(table, dense_model=str(other)))
    with pytest.raises(ModelNotFound):
        engine.reencode(replace(table, static_queries="/nowhere"))
    assert engine.snapshot.generation == generation
    engine.reencode(replace(table, static_queries="searchlib/glance"))
    assert "static" not in engine.retriever_names()
    with pytest.raises(BadQuery, match="this index has"):
        engine.rank(["song"], 1, retriever="static")
    for setting in (table, engine.settings):
        engine.reencode(replace(setting, dense_model=None))
        assert engine.retriever_names()[-3:] == ["lookup", "hybrid", "instant"]
        assert engine.rank(["song"], 1, retriever="instant")[0]


def test_one_that_goes_on_from_another_table(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from searchlib.training import static_queries

    fit_index(engine, tmp_path / "t", PLAN)
    begin = StaticQueries(tmp_path / "t")
    monkeypatch.setattr(static_queries, "static_queries", lambda *_: begin)
    again = fit_index(engine, tmp_path / "u", Plan(200, 200, 1))
    afresh = fit_index(engine, tmp_path / "v", Plan(200, 200, 1), from_scratch=True)
    assert again.before > afresh.before
    same = fit_index(engine, tmp_path / "w", Plan(200, 200, 1), from_scratch=True)
    assert (tmp_path / "v" / "model.safetensors").read_bytes() == (
        tmp_path / "w" / "model.safetensors"
    ).read_bytes()
    assert same.cosine == afresh.cosine


def test_what_cannot_be_learned_from(engine: Engine, tmp_path: Path) -> None:
    for plan in ({"sample": 9}, {"runs": 0}, {"epochs": 0}):
        with pytest.raises(BadInput, match="illegal"):
            Plan(**plan)
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="there already"):
        fit_index(engine, tmp_path / "there", PLAN)
    with (
        Engine.create(tmp_path / "words", Settings(dense_model=None, sparse_model=None)) as words,
        pytest.raises(BadInput, match="no dense vectors"),
    ):
        fit_index(words, tmp_path / "t", PLAN)


def test_copies_of_a_passage_are_held_out_together(engine: Engine) -> None:
    """Each with its runs of words; the vectors of 40 copies cannot show how good a table is."""
    sample = index_sample(engine, 100, 0)
    assert sample.vectors is not None
    copied = Sample(sample.texts[:2] * 40, np.tile(sample.vectors[:2], (40, 1)))
    teacher = DenseEncoder(engine.settings.dense_model or "")
    lessons = lessons_of(copied, teacher, Plan(100, 50, 1), lambda *_: None)
    held, rest = lessons.split(0)
    assert len(set(held.passages)) == len(set(rest.passages)) == 1
    assert len(held.pieces) + len(rest.pieces) >= 80 + 50 - 1
    seen = {ids.tobytes() for ids in rest.pieces if len(ids) > 14}
    assert seen.isdisjoint(ids.tobytes() for ids in held.pieces)


def test_copies_of_one_passage_teach_nothing(tmp_path: Path, tiny_settings: Settings) -> None:
    settings = replace(tiny_settings, sparse_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(Document(f"d{i}", "the cat and the dog") for i in range(12))
        with pytest.raises(BadInput, match="are copies of one"):
            fit_index(engine, tmp_path / "t", PLAN)


def test_a_model_that_was_changed_in_its_place_teaches_nothing(
    tmp_path: Path, tiny_settings: Settings
) -> None:
    """The index's vectors are of the old one, and so would be the table's fingerprint."""
    model = make_bert(tmp_path / "model", masked=False, seed=5)
    settings = replace(tiny_settings, dense_model=str(model), sparse_model=None, max_passages=1)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(Document(f"d{i}", f"the {PLAIN[i]} and the dog") for i in range(12))
        fit_index(engine, tmp_path / "t", Plan(sample=20, runs=20, epochs=1))
        make_bert(model, masked=False, seed=6)
        with pytest.raises(ModelMismatch, match="field 'dense' was built with another model"):
            fit_index(engine, tmp_path / "u", Plan(sample=20, runs=20, epochs=1))
    assert not (tmp_path / "u").exists()
