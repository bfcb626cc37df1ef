"""Whole trainings with tiny models: resumed, judged, published or not, and nothing else touched."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapting import corpus_of, small

from searchlib import Engine, Settings
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.weights import Weights
from searchlib.errors import BadInput, BadQuery
from searchlib.training import publishing
from searchlib.training.adapt import CHECKED, AdaptSettings, adapt, proving
from searchlib.training.blending import fit_blend
from searchlib.training.finetune import (
    FinetuneSettings,
    _split,
    answers_there,
    finetune,
    positives,
)
from searchlib.training.judging import Judged, is_better, judge, on_own_passages
from searchlib.training.log import read_log
from searchlib.training.loop import TrainingSettings
from searchlib.training.making import score_as_indexed
from searchlib.training.mining import MiningSettings
from searchlib.training.models import TrainableSparse
from searchlib.training.pairs import PairSettings, PseudoQuery
from searchlib.training.static_queries import Plan
from searchlib.training.texts import PassageTexts
from searchlib.training.work import copy_of_index

FILES = {"README.md", "config.json", "log.jsonl", "model.safetensors", "modules.json", "plot.png"}


class Stopped(BaseException):
    """A kill, as far as a test can have one in its own process."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Path:
    path = tmp_path_factory.mktemp("source") / "notes.index"
    with Engine.create(path, tiny_settings) as engine:
        engine.add(corpus_of(24))
    return path


def weights(folder: Path) -> dict[str, Any]:
    return {name: np.array(array) for name, array in Weights(folder).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "write.lock"}


@pytest.fixture
def all_is_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "is_better", lambda judgements: True)


def test_a_killed_adaptation_goes_on_as_if_nothing_had_been(
    tmp_path: Path, index: Path, all_is_gain: None
) -> None:
    """Stopped in every stage, and repeated: the model is bit for bit that of one quiet run."""
    before = contents(index)
    quiet = adapt(index, tmp_path / "quiet", small(AdaptSettings()))
    assert quiet.model == tmp_path / "quiet"
    assert quiet.steps == 6
    assert {path.name for path in quiet.model.iterdir()} >= FILES
    assert not (tmp_path / "quiet.work").exists()

    stages: list[tuple[str, int]] = []

    def stop_once(done: int, total: int | None, note: str = "") -> None:
        stage = (note, done if note == "training" and done in (1, 3, 6) else 0)
        if note and stage not in stages:
            stages.append(stage)
            raise Stopped

    for _ in range(30):
        try:
            outcome = adapt(
                index, tmp_path / "model", small(AdaptSettings()), on_progress=stop_once
            )
            break
        except Stopped:
            assert not (tmp_path / "model").exists()
    assert {note for note, _ in stages} >= {"pseudo-queries", "mining", "training", "sparse"}
    assert [done for note, done in stages if note == "training"] == [0, 1, 3, 6] or len(stages) > 5
    ours, theirs = weights(tmp_path / "model"), weights(tmp_path / "quiet")
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert outcome.judgements == quiet.judgements
    steps = [entry["step"] for entry in read_log(tmp_path / "model" / "log.jsonl")]
    assert steps == sorted(steps)
    assert steps == [entry["step"] for entry in read_log(tmp_path / "quiet" / "log.jsonl")]
    assert contents(index) == before


def test_a_model_that_is_better_is_a_whole_folder(
    tmp_path: Path, index: Path, all_is_gain: None
) -> None:
    judged = Judged("own", {"q": "cat"}, {"q": {"d0": 1, "d1": 1}})
    outcome = adapt(index, tmp_path / "model", small(AdaptSettings()), judged=judged)
    assert outcome.model is not None
    card = (outcome.model / "README.md").read_text()
    assert "held-out pseudo-queries, sparse" in card
    assert "own, hybrid" in card
    assert "making.training.steps" in card
    assert [j.queries for j in outcome.judgements] == [
        "held-out pseudo-queries, sparse", "own, sparse", "own, hybrid",
    ]  # fmt: skip
    logged = read_log(outcome.model / "log.jsonl")
    assert {"loss", "flops", "document_terms", "query_terms", "seconds"} <= set(logged[1])
    assert any("validation" in entry for entry in logged)
    with Engine.open(index) as engine:
        own = SparseEncoder(engine.settings.sparse_model or "")
    new = SparseEncoder(outcome.model)
    assert new.fingerprint != own.fingerprint
    assert len(new.encode_document(["the cat"])) == 1


def test_cards_say_what_opens_the_folder(tmp_path: Path, index: Path, all_is_gain: None) -> None:
    """sentence-transformers leaves factors and a blend out: it opens another model, or none."""
    blended = tmp_path / "blended.index"
    copy_of_index(index, blended)
    with Engine.open(blended) as engine:
        fit_blend(engine, tmp_path / "blend")
        engine.reencode(replace(engine.settings, sparse_model=str(tmp_path / "blend")))
    documents = corpus_of(24)
    topics = {document.id: document.title for document in documents}
    qrels = {document.id: {document.id: 1} for document in documents}
    few, labelled = small(AdaptSettings()), small(FinetuneSettings())
    adapt(index, tmp_path / "adapted", few)
    adapt(blended, tmp_path / "blended", few)
    finetune(index, topics, qrels, tmp_path / "gained", labelled)
    finetune(blended, topics, qrels, tmp_path / "both", labelled)
    cards = {
        name: (tmp_path / name / "README.md").read_text()
        for name in ("adapted", "blended", "gained", "both")
    }
    own = 'library_name: "sentence-transformers"'
    assert own in cards["adapted"]
    assert "SparseEncoder('adapted')" in cards["adapted"]
    assert "Only searchlib" not in cards["adapted"]
    for name, added in (("blended", "blend"), ("gained", "gains"), ("both", "gains")):
        assert (tmp_path / name / added).is_dir()
        assert f"Only searchlib applies what is in `{added}/`" in cards[name]
        assert own not in cards[name]
        assert "SparseEncoder" not in cards[name]
        assert "```\nsearchlib reencode my.index --sparse-model" in cards[name]
        assert '"sentence-transformers"' not in cards[name].split("---\n")[1]
    assert "and `blend/`" in cards["both"]
    assert "has no weights of its own" in cards["both"]
    for name in ("blended", "gained"):
        assert "not the one that is judged" in cards[name]
    peer = pytest.importorskip("sentence_transformers").SparseEncoder
    for name in ("adapted", "blended", "gained"):
        peer(str(tmp_path / name), device="cpu")
    with pytest.raises((ValueError, OSError)):
        peer(str(tmp_path / "both"), device="cpu")


def test_without_a_gain_the_old_model_stays(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "is_better", lambda judgements: False)
    settings = small(AdaptSettings())
    outcome = adapt(index, tmp_path / "model", settings)
    assert outcome.model is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.work"]
    assert (tmp_path / "model.work" / "model" / "model.safetensors").is_file()
    again = adapt(index, tmp_path / "model", settings)  # nothing is done twice
    assert again.judgements == outcome.judgements
    # other settings are other work
    other = replace(settings, pairs=replace(settings.pairs, seed=5))
    with pytest.raises(BadInput, match=r"begun with pairs\.seed 0, now 5"):
        adapt(index, tmp_path / "model", other)
    copy_of_index(index, tmp_path / "other.index")
    with Engine.open(tmp_path / "other.index") as copy:
        copy.delete(["d3"])
    with pytest.raises(BadInput, match="generation"):
        adapt(tmp_path / "other.index", tmp_path / "model", settings)


def test_a_refusal_leaves_no_work(tmp_path: Path, index: Path, tiny_settings: Settings) -> None:
    with Engine.create(tmp_path / "empty.index", tiny_settings):
        pass
    with pytest.raises(BadInput, match="no pseudo-queries"):
        adapt(tmp_path / "empty.index", tmp_path / "m", small(AdaptSettings()))
    with pytest.raises(BadInput, match="do the ids agree"):
        finetune(index, {"1": "cat"}, {"1": {"absent": 1}}, tmp_path / "m", FinetuneSettings())
    assert [path.name for path in tmp_path.iterdir()] == ["empty.index"]


def test_a_dense_model_learns_too(tmp_path: Path, index: Path, all_is_gain: None) -> None:
    outcome = adapt(index, tmp_path / "model", small(AdaptSettings(kind="dense")))
    assert outcome.model is not None
    from searchlib.encoders.dense import DenseEncoder

    assert DenseEncoder(outcome.model).encode_query(["cat"]).shape == (1, 32)


def test_a_cross_encoder_can_teach(tmp_path: Path, index: Path, all_is_gain: None) -> None:
    asked = []

    def reads(query: str, texts: Any) -> Any:
        asked.append(query)
        return np.array([len(set(query.split()) & set(text.split())) for text in texts], float)

    given = [PseudoQuery("a query of mine", "", "given")]
    adapt(index, tmp_path / "m", small(AdaptSettings()), cross_encoder=reads, given=given)
    assert len(asked) == 1 + 6 * 4  # one to know the scorer again by
    assert "| pseudo-queries: given | 1 |" in (tmp_path / "m" / "README.md").read_text()


def test_a_time_budget_makes_steps_fewer(tmp_path: Path, index: Path, all_is_gain: None) -> None:
    settings = small(AdaptSettings())
    training = replace(settings.making.training, steps=100_000)
    many = replace(settings, making=replace(settings.making, training=training))
    outcome = adapt(index, tmp_path / "m", many, minutes=1 / 600)
    assert 1 <= outcome.steps < 100_000


def test_finetuning_with_labels(tmp_path: Path, index: Path, all_is_gain: None) -> None:
    documents = corpus_of(24)
    topics = {str(i): document.title for i, document in enumerate(documents)}
    qrels = {str(i): {document.id: 1, "absent": 1} for i, document in enumerate(documents)}
    settings = small(FinetuneSettings())
    for kind, whole in product(("sparse", "dense"), (False, True)):
        target = tmp_path / f"{kind}{whole}"
        chosen = replace(settings, kind=kind, whole=whole)
        outcome = finetune(index, topics, qrels, target, chosen)
        assert outcome.model == target
        assert [j.queries for j in outcome.judgements] == [
            f"held-out judged queries, {kind}", "held-out judged queries, hybrid",
        ]  # fmt: skip
        assert outcome.judgements[0].comparison.queries == 4
        assert "judged queries trained on | 20" in (target / "README.md").read_text()
    with pytest.raises(BadInput, match="do the ids agree"):
        finetune(index, topics, {"1": {"absent": 1}}, tmp_path / "x", settings)


def test_positives_are_the_best_passages(engine: Engine) -> None:
    topics = {"a": "the boat in the river", "b": "cat", "c": "nothing"}
    qrels = {"a": {"long": 2, "cat": 0}, "b": {"cat": 1, "gone": 1}, "c": {"gone": 1}}
    answers = answers_there(engine, topics, qrels)
    assert answers == {"a": ["long"], "b": ["cat"]}
    found = positives(engine, {id: topics[id] for id in answers}, answers)
    assert [(query.text, query.document) for query in found] == [
        ("the boat in the river", "long"), ("cat", "cat"),
    ]  # fmt: skip
    assert found[0].end <= 1200
    assert found[0].start < found[0].end


@pytest.mark.parametrize("field", ["sparse", "dense"])
def test_ranks_of_own_passages_are_those_of_brute_force(engine: Engine, field: str) -> None:
    """Each query's document without the query competes with all other documents."""
    queries = [
        PseudoQuery("The cat is asleep on the roof.", "cat", "sentence", 0, 30),
        PseudoQuery("Bread", "bread", "title"),
        PseudoQuery("The boat is in the river.", "long", "sentence", 1080, 1105),
        PseudoQuery("nobody's", "", "given"),
    ]
    found = on_own_passages(engine, field, queries)
    assert list(found) == ["0", "1", "2"]
    scorer: Any = engine.retriever(field)
    encoder = scorer.queries.encoder
    documents = np.arange(engine.snapshot.n_documents)
    names = engine.snapshot.ids(documents)
    cut = {"cat": " The bird is in the tree.", "bread": "Yeast heats the dough. Bread in the oven."}
    last = PassageTexts(engine.snapshot)([engine.snapshot.n_passages - 2])[0]
    cut["long"] = last.replace("The boat is in the river.", "")
    rows: Any = engine.snapshot.stored_rows("sparse", np.arange(engine.snapshot.n_passages))
    counts = Counter(rows.terms[column] for column in rows.indices.tolist())
    idf = {t: np.log1p((len(rows) - n + 0.5) / (n + 0.5)) ** 0.75 for t, n in counts.items()}
    for number, query in enumerate(queries[:3]):
        scores = scorer.scores(query.text, documents, None, "document")
        q, d = encoder.encode_query([query.text]), encoder.encode_document([cut[query.document]])
        if field == "sparse":
            own = sum(w * idf[term] * d.row(0).get(term, 0) for term, w in q.row(0).items())
        else:
            own = float(q[0] @ d[0])
        others = [s for s, name in zip(scores, names, strict=True) if name != query.document]
        rank = 1 + sum(s >= own for s in others)
        assert found[str(number)] == pytest.approx(1 / np.log2(rank + 1))


def test_training_scores_as_the_index_does(engine: Engine) -> None:
    """idf and lengths included: else a model would learn for another engine."""
    model = TrainableSparse(Path(engine.settings.sparse_model or ""), 32)
    score_as_indexed(model, engine)
    texts = PassageTexts(engine.snapshot)(np.arange(engine.snapshot.n_passages))
    passages = np.flatnonzero([bool(text) for text in texts])  # one has none
    queries = ["the cat and the boat", "bread"]
    with torch.no_grad():
        asked = model.encode(queries, query=True)
        found = model.scores(asked, model.encode([texts[i] for i in passages], query=False))
    for row, query in enumerate(queries):
        scores = engine.retriever("sparse").scores(query, passages, None, "passage")
        np.testing.assert_allclose(found[row].numpy(), scores, rtol=3e-3, atol=1e-3)


def test_a_model_is_no_better_than_itself(engine: Engine) -> None:
    queries = [PseudoQuery("cat", "cat", "title"), PseudoQuery("Bread", "bread", "title")]
    judged = Judged("own", {"q": "cat"}, {"q": {"cat": 1}})
    judgements = judge(engine, engine, "sparse", queries, judged=judged)
    assert [j.comparison.difference for j in judgements] == [0, 0, 0]
    assert not is_better(judgements)
    with pytest.raises(BadInput, match="none of the documents"):
        judge(engine, engine, "sparse", queries, judged=Judged("x", {"q": "a"}, {"q": {"z": 1}}))


def test_gains_and_losses() -> None:
    from searchlib.evaluation import compare
    from searchlib.training.card import Judgement

    low, high = ({str(i): value for i in range(20)} for value in (0.1, 0.9))
    gain, loss = (Judgement("q", "nDCG@10", compare(*pair)) for pair in ((high, low), (low, high)))
    none = Judgement("q", "nDCG@10", compare(low, low))
    assert is_better([gain, none])
    assert not is_better([gain, loss])
    assert not is_better([none])
    assert not is_better([])


def test_a_copy_of_an_index_is_one_of_its_own(tmp_path: Path, index: Path) -> None:
    before = contents(index)
    copy_of_index(index, tmp_path / "copy")
    assert contents(tmp_path / "copy") == before
    with Engine.open(tmp_path / "copy") as engine:
        engine.add(corpus_of(3, seed=9))
        engine.delete(["d5"])
        engine.vacuum()
        assert engine.verify() == []
    assert contents(index) == before
    with Engine.open(index) as engine:
        assert engine.verify() == []


@pytest.mark.parametrize("state", ["file", "others", "damaged"])
def test_a_work_folder_that_is_none(tmp_path: Path, index: Path, state: str) -> None:
    work = tmp_path / "model.work"
    if state == "file":
        work.write_text("mine")
    else:
        work.mkdir()
        name = "plan.json" if state == "damaged" else "letter.txt"
        (work / name).write_text("mine")
    with pytest.raises(BadInput, match=r"model\.work"):
        adapt(index, tmp_path / "model", small(AdaptSettings()))
    kept = (
        [work] if state == "file" else [path for path in work.iterdir() if ".lock" not in path.name]
    )
    assert [path.read_text() for path in kept] == ["mine"]


@pytest.mark.parametrize(
    "settings", [PairSettings, MiningSettings, TrainingSettings, FinetuneSettings, Plan]
)
@pytest.mark.parametrize("seed", [-1, 1 << 63, 0.5])
def test_a_seed_that_is_none_is_refused(settings: Any, seed: Any) -> None:
    with pytest.raises(BadQuery, match=f"illegal seed: {seed}, must be a whole number from 0"):
        settings(seed=seed)


def test_one_document_is_not_enough(tmp_path: Path, tiny_settings: Settings) -> None:
    path = tmp_path / "one.index"
    with Engine.create(path, tiny_settings) as engine:
        engine.add(corpus_of(1))
    with pytest.raises(BadInput, match="several documents"):
        adapt(path, tmp_path / "model", small(AdaptSettings()))
    assert json.loads((tmp_path / "model.work" / "plan.json").read_bytes())


def test_queries_that_chose_the_weights_do_not_prove_the_model() -> None:
    assert proving(range(2 * CHECKED)) == range(CHECKED, 2 * CHECKED)
    assert proving(range(2 * CHECKED - 1)) == range(2 * CHECKED - 1)  # too few to do without


def test_queries_of_one_text_are_on_one_side() -> None:
    texts = ("  How DEEP is it", "how deep is it", "question")
    topics = {str(i): f"{texts[i % 3]} {i // 9 if i % 3 == 2 else ''}" for i in range(60)}
    for seed in range(5):
        train, held_out = _split(topics, FinetuneSettings(held_out=0.3, seed=seed))
        assert sorted(train + held_out) == sorted(topics)
        asked = [{" ".join(topics[id].lower().split()) for id in ids} for ids in (train, held_out)]
        assert asked[0].isdisjoint(asked[1])
        assert asked[0]
        assert asked[1]
    with pytest.raises(BadInput, match="same text"):
        _split({"a": "x", "b": "X "}, FinetuneSettings())


def test_an_index_that_changed_meanwhile_is_not_judged_on(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(source: Path, target: Path) -> None:
        with Engine.open(source) as engine:
            engine.delete([corpus_of(24)[0].id])
        copy_of_index(source, target)

    monkeypatch.setattr(publishing, "copy_of_index", changed)
    with pytest.raises(BadInput, match="was changed since the training began"):
        adapt(index, tmp_path / "m", small(AdaptSettings()))
    assert not (tmp_path / "m").exists()


def test_another_scorer_is_another_training(tmp_path: Path, index: Path) -> None:
    def one(query: str, texts: Any) -> Any:
        return np.zeros(len(texts))

    def other(query: str, texts: Any) -> Any:
        return np.arange(len(texts), dtype=float)

    work = tmp_path / "work"
    adapt(index, tmp_path / "m", small(AdaptSettings()), cross_encoder=one, work=work)
    with pytest.raises(BadInput, match="cross_encoder"):
        adapt(index, tmp_path / "n", small(AdaptSettings()), cross_encoder=other, work=work)
