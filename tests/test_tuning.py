"""Weights chosen on judged queries: kept when they are better, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from indexes import directory
from searchlib import Document, Engine, Settings
from searchlib.errors import BadInput, BadQuery, ModelMismatch
from searchlib.evaluation import evaluate, run_of
from searchlib.tuning import cross_validated, reset, tune, weightings

WORDS = ("moon", "river", "bread", "stone", "plant", "doctor")


@pytest.fixture
def many(tmp_path: Path, tiny_settings: Settings) -> Iterator[Engine]:
    """60 documents; each has one word of its own, which only BM25 can tell from the others."""
    texts = (f"{WORDS[n % 6]} number x{n} in the {WORDS[n * 5 % 6]}" for n in range(60))
    with Engine.create(tmp_path / "many.index", tiny_settings) as engine:
        engine.add(Document(f"d{n}", text) for n, text in enumerate(texts))
        yield engine


TOPICS = {f"q{n}": f"x{n}" for n in range(40)}
RIGHT = {f"q{n}": {f"d{n}": 1} for n in range(40)}


def weights_of(engine: Engine) -> tuple[float, float, float]:
    settings = engine.settings
    return settings.bm25_weight, settings.sparse_weight, settings.dense_weight


def misled(engine: Engine) -> None:
    """Leave BM25 out, so that random models decide."""
    from indexes.writer import Writer

    with Writer.open(engine.path) as writer:
        values = engine.settings.to_json() | {"bm25_weight": 0.0}
        writer.commit(values)
    engine.refresh()


def test_better_weights_are_kept_and_undone_by_one_command(many: Engine) -> None:
    misled(many)
    before = weights_of(many)
    report = tune(many, TOPICS, RIGHT)
    assert report.outcome == "better"
    assert report.gain is not None
    assert report.p is not None
    assert report.gain > 0.3
    assert report.p < 0.001
    assert report.before == dict(zip(("bm25_passage", "sparse", "dense"), before, strict=True))
    assert report.best_single == "bm25_passage"
    assert weights_of(many) == tuple(report.weights.values()) != before
    assert weights_of(many)[0] > 0
    with Engine.open(many.path) as again:
        assert weights_of(again) == weights_of(many)
        assert again.search("x7", 1)[0].id == "d7"
        assert again.info()["settings"]["bm25_weight"] == weights_of(many)[0]
    assert reset(many).outcome == "reset"
    default = Settings()
    assert weights_of(many) == (default.bm25_weight, default.sparse_weight, default.dense_weight)


def test_a_dry_run_and_what_is_no_better_write_nothing(many: Engine) -> None:
    misled(many)
    before = (many.path / "manifest.json").read_bytes()
    assert tune(many, TOPICS, RIGHT, dry_run=True).outcome == "better"
    assert (many.path / "manifest.json").read_bytes() == before
    wrong = {f"q{n}": {f"d{(n * 7 + 13) % 60}": 1} for n in range(40)}  # nobody can find these
    report = tune(many, TOPICS, wrong)
    assert report.outcome == "no better"
    assert report.weights == report.before
    assert (many.path / "manifest.json").read_bytes() == before


def test_a_crash_while_storing_leaves_the_old_weights(
    many: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    misled(many)
    before = weights_of(many)

    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(directory.FileDirectory, "replace", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            tune(many, TOPICS, RIGHT)
    with Engine.open(many.path) as again:
        assert weights_of(again) == before
        assert again.verify() == []


def test_settings_of_others_are_kept(many: Engine, tiny_queries: Path) -> None:
    """Those that were committed since the engine was opened, and while it tunes."""
    misled(many)
    table = str(tiny_queries)

    def point(done: int, total: int | None, note: str = "") -> None:
        if done == 3:
            with Engine.open(many.path) as other:
                other.reencode(replace(other.settings, static_queries=None))

    report = tune(many, TOPICS, RIGHT, on_progress=point)
    assert report.outcome == "better"
    assert many.settings.static_queries is None
    assert many.settings.bm25_weight == report.weights["bm25_passage"]
    with Engine.open(many.path) as other:
        other.reencode(replace(other.settings, static_queries=table))
    reset(many)
    assert many.settings.static_queries == table


def test_an_index_that_is_encoded_anew_meanwhile_is_not_tuned(many: Engine) -> None:
    """It could not be opened any more: settings of other fields than it has."""
    misled(many)

    def encode(done: int, total: int | None, note: str = "") -> None:
        if done == 3:
            with Engine.open(many.path) as other:
                other.reencode(replace(other.settings, sparse_model=None))

    with pytest.raises(ModelMismatch, match="was encoded anew meanwhile"):
        tune(many, TOPICS, RIGHT, on_progress=encode)
    assert many.settings.bm25_weight == 0.0
    assert reset(many).weights.keys() == {"bm25_passage", "dense"}


def test_a_reset_by_an_engine_that_was_not_refreshed(many: Engine) -> None:
    with Engine.open(many.path) as other:
        other.reencode(replace(other.settings, sparse_model=None, dense_model=None))
    with pytest.raises(BadQuery, match="nothing to tune"):
        reset(many)
    with Engine.open(many.path) as again:
        assert again.settings.dense_model is None


def test_too_few_queries_are_refused(many: Engine) -> None:
    with pytest.raises(BadInput, match="1 judged queries are too few"):
        tune(many, TOPICS, {"q1": {"d1": 1}})


def test_an_index_of_words_has_nothing_to_tune(tmp_path: Path) -> None:
    words = Settings(dense_model=None, sparse_model=None)
    with (
        Engine.create(tmp_path / "w.index", words) as engine,
        pytest.raises(BadQuery, match="nothing to fuse"),
    ):
        tune(engine, TOPICS, RIGHT)


def test_a_query_is_never_ranked_with_weights_chosen_on_it() -> None:
    """Each weighting is perfect for one query alone: all others see it at 0."""
    ids = [f"q{n}" for n in range(20)]
    values = {(float(i),): {id: float(id == ids[i]) for id in ids} for i in range(20)}
    assert sum(cross_validated(values).values()) == 0
    good = {**values, (99.0,): dict.fromkeys(ids, 0.5)}
    assert sum(cross_validated(good).values()) == 10


def test_what_is_tuned_heeds_quotation_marks_as_every_search_does(many: Engine) -> None:
    misled(many)
    topics = {id: f'river "number {text}"' for id, text in TOPICS.items()}
    report = tune(many, topics, RIGHT, dry_run=True)
    run = run_of(list(topics), many.rank(list(topics.values()), 11), k=10)
    served = evaluate(RIGHT, run, "nDCG@10").mean["nDCG@10"]
    assert report.mean_before == pytest.approx(served)
    assert served > 0.9  # what is quoted finds them, though the weights leave words out


def test_what_is_tuned_reads_queries_as_every_search_does(many: Engine) -> None:
    topics = {id: f"riverr numbre {text}" for id, text in TOPICS.items()}
    assert many.respelled(topics["q1"]).query == "river number x1"
    report = tune(many, topics, RIGHT, dry_run=True)
    served, as_typed = (
        evaluate(RIGHT, run_of(list(topics), found, k=10), "nDCG@10").mean["nDCG@10"]
        for found in (
            many.rank(list(topics.values()), 11),
            many.rank(list(topics.values()), 11, retriever=many.retriever("hybrid")),
        )
    )
    assert report.mean_before == pytest.approx(served)
    assert served != pytest.approx(as_typed)


def test_many_weightings_rank_as_each_does_alone(many: Engine) -> None:
    hybrid = many.retriever("hybrid")
    grid = weightings(3, hybrid.weights)[:9]  # type: ignore[attr-defined]
    together = hybrid.top_weighted("moon x7", 5, grid)  # type: ignore[attr-defined]
    for weights, top in zip(grid, together, strict=True):
        alone = replace(hybrid, weights=weights).top(["moon x7"], 5, None, "document")[0]  # type: ignore[type-var]
        assert (top.ids.tolist(), top.scores.tolist()) == (
            alone.ids.tolist(),
            alone.scores.tolist(),
        )


def test_judgements_without_answers_in_the_index_are_refused(many: Engine) -> None:
    before = many.snapshot.generation
    for qrels in (
        {id: {f"elsewhere{id}": 1} for id in TOPICS},
        {id: dict.fromkeys(judged, 0) for id, judged in RIGHT.items()},
        {**{id: {"elsewhere": 1} for id in TOPICS}, **{f"q{n}": {f"d{n}": 1} for n in range(19)}},
    ):
        with pytest.raises(BadInput, match="of 40 judged queries have a relevant document"):
            tune(many, TOPICS, qrels)
    assert many.snapshot.generation == before
