"""Probabilities of an index's hits: from what the parts say, the same on every way, and tuned."""

from __future__ import annotations

import ast
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import Damaged
from indexes.types import Unit
from indexes.writer import Writer
from searchlib import Document, Engine, Settings
from searchlib.calibrating import judged_hits
from searchlib.calibration import DEFAULT, Calibration
from searchlib.encoders.analyzer import Analyzer
from searchlib.errors import BadFilter, BadInput, BadQuery
from searchlib.evidence import Calibrated, evidence_of
from searchlib.fused import Fused
from searchlib.hits import make_hits
from searchlib.holding import holding, rarest_first, spellings_of
from searchlib.naming import name_ids
from searchlib.query_cache import QueryCache
from searchlib.tuning import reset, tune
from searchlib.types import Hit

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("moon", "river", "bread", "stone", "plant", "doctor")
TOPICS = {f"q{n}": f"x{n} {WORDS[n % 6]}" for n in range(40)}
RIGHT = {f"q{n}": {f"d{n}": 1} for n in range(40)}
MINE = Calibration(base=-1.0, share=2.0, cosine=0.5, whole=3.0, floor=0.2)
OWN = replace(MINE, cosine=0.01)  # of the tiny model, whose vectors have lengths of their own


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Iterator[Engine]:
    """60 documents; each has one word of its own. Not calibrated: its models are unknown ones."""
    texts = (f"{WORDS[n % 6]} number x{n} in the {WORDS[n * 5 % 6]}" for n in range(60))
    path = tmp_path_factory.mktemp("many") / "many.index"
    with Engine.create(path, tiny_settings) as engine:
        engine.add(Document(f"d{n}", text, "", {"n": n}) for n, text in enumerate(texts))
        yield engine


@pytest.fixture
def mine(many: Engine) -> Iterator[Engine]:
    """The same with a calibration of its own."""
    store(many, {"calibration": to_json(own(many))})
    yield many
    store(many, {})


def own(engine: Engine) -> Calibration:
    """One that is of the index's dense model."""
    return replace(OWN, model=engine.snapshot.fields["dense"].encoder["fingerprint"])


def to_json(calibration: Calibration) -> dict[str, Any]:
    values: dict[str, Any] = replace(Settings(), calibration=calibration).to_json()["calibration"]
    return values


def store(engine: Engine, more: dict[str, Any]) -> None:
    values = engine.settings.to_json()
    values.pop("calibration", None)
    with Writer.open(engine.path) as writer:
        writer.commit(values | more)
    engine.refresh()


def hybrid_of(engine: Engine) -> Fused:
    hybrid = engine.retriever("hybrid")
    assert isinstance(hybrid, Fused)
    return hybrid


# --- evidence


def test_evidence_is_what_the_parts_say(many: Engine) -> None:
    query, hybrid = "moon x7 unheardof", hybrid_of(many)
    [top] = hybrid.top([query], 60, None, "document")
    evidence = evidence_of(hybrid, query, top, None, "document")
    shares = np.log(top.scores / sum(hybrid.weights))
    assert evidence[:, 0] == pytest.approx(shares, abs=1e-6)
    names = many.snapshot.ids(top.ids)
    cosines = dict(many.rank([query], 60, retriever="dense")[0])
    assert evidence[:, 1] == pytest.approx([cosines[name] for name in names], abs=1e-5)
    assert not evidence[:, 2].any()  # one word is in none


@pytest.mark.parametrize("unit", ["document", "passage"])
@pytest.mark.parametrize(
    ("query", "having"),
    [
        ("moon", {f"d{n}" for n in range(0, 60, 6)}),
        ("the x7 number, a river", {"d7"}),
        ("x7 x7 x8", set()),
        ("x7 unheardof", set()),
        ("in the", set()),  # no words at all
    ],
)
def test_a_hit_is_whole_where_it_has_every_word(
    many: Engine, unit: Unit, query: str, having: set[str]
) -> None:
    hybrid = hybrid_of(many)
    [top] = hybrid.top([query], 60, None, unit)
    whole = evidence_of(hybrid, query, top, None, unit)[:, 2]
    names = name_ids(many.snapshot, top.ids, unit)
    found = {name for name, value in zip(names, whole, strict=True) if value}
    assert {name.split("#")[0] for name in found} == having
    assert set(whole) <= {0, 1}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Störche", "Stoerche"),
        ("Störche", "storche"),
        ("Müller of Łódź", "Mueller, Lodz"),
        ("a relay of 5 V", "5V relay"),
        ("XJ-900", "xj 900"),
        ("M-8", "M8"),
        ("1,500 seats", "1500 seats"),
        ("getElementById", "getelementbyid"),
    ],
)
def test_a_hit_is_whole_however_it_spells_the_words(
    tmp_path: Path, tiny_settings: Settings, query: str, text: str
) -> None:
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([Document("a", text), Document("b", "relay 900 1 seats 5"), Document("c", "v")])
        hybrid = hybrid_of(engine)
        [top] = hybrid.top([query], 3, None, "document")
        whole = evidence_of(hybrid, query, top, None, "document")[:, 2]
        names = engine.snapshot.ids(top.ids)
        assert {name for name, value in zip(names, whole, strict=True) if value} == {"a"}


def test_spellings_of_one_document_may_stand_in_several_passages(
    tmp_path: Path, tiny_settings: Settings
) -> None:
    short = replace(tiny_settings, passage_tokens=16, overlap=0)
    with Engine.create(tmp_path / "i", short) as engine:
        engine.add([Document("a", f"Moon. {'Stone. ' * 30} River."), Document("b", "moon")])
        assert engine.info()["passages"] > 2
        snapshot, field, words = engine.snapshot, "bm25_passage", [("river",), ("moon",)]
        asked = spellings_of("moon, rivers, moon", QueryCache(Analyzer()))
        assert rarest_first(snapshot, field, asked) == words
        documents, passages = np.arange(2), np.arange(engine.info()["passages"])
        assert holding(snapshot, field, words, documents, "document").tolist() == [True, False]
        assert not holding(snapshot, field, words, passages, "passage").any()
        assert holding(snapshot, field, [], documents, "document").all()


def test_words_that_no_document_has_are_told_from_others(mine: Engine) -> None:
    calibrated = mine.calibrated()
    assert calibrated is not None
    for query, where, nowhere in (
        ("unheardof", None, True),
        ("unheardof moon", None, False),
        ("x7", None, False),
        ("x7", "n = 8", True),
        ("the", None, False),  # no word that anybody could have
        ("?!", None, False),
    ):
        assert calibrated.words_nowhere(query, where) is nowhere, (query, where)
    with pytest.raises(BadFilter):
        calibrated.words_nowhere("x7", "n >")


def test_evidence_of_odd_questions_is_finite(many: Engine) -> None:
    hybrid = hybrid_of(many)
    for query in ("?!", "the", "x" * 500, "moon " * 300):
        for weights in (hybrid.weights, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)):
            fused = replace(hybrid, weights=weights)
            [top] = fused.top([query], 5, None, "document")
            evidence = evidence_of(fused, query, top, None, "document")
            assert np.isfinite(evidence).all()
            assert ((evidence[:, 2] >= 0) & (evidence[:, 2] <= 1)).all()


# --- the index


def test_hits_are_as_probable_on_every_way(mine: Engine) -> None:
    calibrated = mine.calibrated()
    assert isinstance(calibrated, Calibrated)
    assert calibrated.calibration == own(mine)
    hits = mine.search("moon x7", 8, min_probability=0)
    told = {hit.id: hit.probability for hit in hits}
    assert len(told) == 8
    assert all(p is not None and 0 <= p <= 1 for p in told.values())
    paged = mine.search("moon x7", 4, offset=4, min_probability=0)
    assert {hit.id: hit.probability for hit in paged} == {h.id: told[h.id] for h in hits[4:]}
    assert [hit.rank for hit in paged] == [5, 6, 7, 8]
    assert mine.search("moon x7", 2, min_probability=0) == hits[:2]
    with Engine.open(mine.path) as again:
        assert again.search("moon x7", 8, min_probability=0) == hits
    for hit in hits:
        tree = calibrated.explain("moon x7", hit.id)
        assert tree.recompute() == pytest.approx(tree.value)
        assert 1 / (1 + math.exp(-tree.value)) == pytest.approx(hit.probability, abs=1e-5)
        assert tree.note == f"probability {hit.probability:.2f}"
    plain = mine.search("moon x7", 8)
    assert [replace(hit, probability=None) for hit in hits] == plain


def test_hits_are_as_probable_without_the_extensions(mine: Engine) -> None:
    code = (
        "import sys; sys.modules['indexes._kernels'] = sys.modules['indexes._scan'] = None\n"
        "from searchlib import Engine\n"
        f"hits = Engine.open({str(mine.path)!r}).search('moon x7', 8, min_probability=0)\n"
        "print([(hit.id, hit.probability) for hit in hits])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    told = dict(ast.literal_eval(done.stdout))  # numpy adds up vectors in another order
    hits = mine.search("moon x7", 8, min_probability=0)
    assert told == pytest.approx({hit.id: hit.probability for hit in hits}, abs=1e-5)


def test_quotation_marks_change_the_order_not_the_probabilities(mine: Engine) -> None:
    query = 'moon "number x7"'
    hits = mine.search(query, 60, min_probability=0)
    plain = mine.search(query, 60, retriever=mine.retriever("hybrid"), min_probability=0)
    assert hits[0].score > plain[0].score
    assert len(hits) == len(plain) == 60
    likely = {hit.id: hit.probability for hit in plain}
    assert {hit.id: hit.probability for hit in hits} == pytest.approx(likely)


@pytest.mark.parametrize("query", ["moon x7", 'moon "number x7"'])
def test_probabilities_are_of_the_commit_that_was_searched(
    tmp_path: Path, mine: Engine, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Whatever another thread refreshes to while hits are made."""
    path = tmp_path / "mine.index"
    shutil.copytree(mine.path, path)
    with Engine.open(path) as engine, Engine.open(path) as other:
        before = engine.search(query, 5, where="n > 2", min_probability=0)
        other.delete(f"d{n}" for n in range(0, 60, 2) if f"d{n}" != before[0].id)
        store(other, {})  # and is calibrated no more

        def slowly(*args: Any, **kwargs: Any) -> list[Hit]:
            hits = make_hits(*args, **kwargs)
            engine.refresh()
            return hits

        monkeypatch.setattr("searchlib.searching.make_hits", slowly)
        assert engine.search(query, 5, where="n > 2", min_probability=0) == before
        assert engine.snapshot.generation == other.snapshot.generation


def test_improbable_hits_are_left_out(mine: Engine) -> None:
    hits = mine.search("moon x7", 60, min_probability=0)
    bar = max(hit.probability or 0 for hit in hits)
    kept = mine.search("moon x7", 60, min_probability=bar)
    assert kept == [hit for hit in hits if (hit.probability or 0) >= bar]
    assert 0 < len(kept) < len(hits)
    assert mine.search("moon x7", 8, min_probability=1.0) == []
    assert mine.search("moon", 8, where="n > 100", min_probability=0) == []
    passages = mine.search("moon x7", 3, unit="passage", min_probability=0)
    assert all(hit.probability is not None for hit in passages)
    for wrong in (-0.1, 1.1, math.nan, "0.5"):
        with pytest.raises(BadQuery, match="illegal min_probability"):
            mine.search("moon", min_probability=wrong)  # type: ignore[arg-type]


def test_who_has_no_probabilities_says_so(many: Engine, mine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BadQuery, match=r"only scores of 'hybrid' are calibrated, not .* 'bm25'"):
        mine.search("moon", retriever="bm25", min_probability=0)
    with pytest.raises(BadQuery, match="only scores of 'hybrid'"):
        mine.search("moon", retriever=mine.refined("hybrid"), min_probability=0)
    store(mine, {})
    assert many.calibrated() is None
    with pytest.raises(BadQuery, match="dense model is not the default; `searchlib tune`"):
        many.search("moon", min_probability=0)
    words = Settings(dense_model=None, sparse_model=None)
    with Engine.create(tmp_path / "w.index", words) as engine:
        engine.add([Document("a", "moon")])
        assert engine.calibrated() is None
        with pytest.raises(BadQuery, match="has words only"):
            engine.search("moon", min_probability=0)


def test_sorted_and_filtered_hits_are_as_probable(mine: Engine) -> None:
    ranked = {hit.id: hit.probability for hit in mine.search("moon x7", 60, min_probability=0)}
    found = mine.search("moon x7", 5, sort="-n", min_probability=0)
    assert [hit.id for hit in found] != list(ranked)[:5]
    assert {hit.id: hit.probability for hit in found} == pytest.approx(
        {hit.id: ranked[hit.id] for hit in found}
    )
    calibrated = mine.calibrated()
    assert calibrated is not None
    (hit, *_) = mine.search("moon x7", where="n >= 20", min_probability=0)
    told = calibrated.explain("moon x7", hit.id, "n >= 20").value
    assert 1 / (1 + math.exp(-told)) == pytest.approx(hit.probability)


def test_a_calibration_of_another_dense_model_is_not_believed(many: Engine) -> None:
    fingerprint = many.snapshot.fields["dense"].encoder["fingerprint"]
    for model, believed in (("", False), (fingerprint, True), ("another", False)):
        store(many, {"calibration": to_json(replace(MINE, model=model))})
        assert (many.calibrated() is not None) is believed
    store(many, {})


def test_the_default_is_for_its_own_model(many: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from searchlib import evidence

    assert many.calibrated() is None
    name = many.snapshot.fields["dense"].encoder["model"]
    monkeypatch.setattr(evidence, "DEFAULT", replace(DEFAULT, model=name))
    calibrated = many.calibrated()
    assert calibrated is not None
    assert calibrated.calibration.cosine == DEFAULT.cosine


def test_settings_keep_it_and_older_ones_have_none() -> None:
    assert "calibration" not in Settings().to_json()
    kept = replace(Settings(), calibration=MINE)
    assert Settings.from_json(kept.to_json()) == kept


@pytest.mark.parametrize(
    "wrong",
    [{"base": "x"}, {"floor": 2}, {"base": math.nan}, {"unknown": 1}, {"model": 3}, 7, "x"],
)
def test_a_calibration_that_makes_no_sense_is_damage(many: Engine, wrong: Any) -> None:
    values = many.settings.to_json()
    nonsense = to_json(MINE) | wrong if isinstance(wrong, dict) else wrong
    try:
        with Writer.open(many.path) as writer:
            writer.commit(values | {"calibration": nonsense})
        with pytest.raises(Damaged):
            Engine.open(many.path)
    except ValueError:
        assert wrong == {"base": math.nan} or math.isnan(wrong["base"])  # JSON has no such number
    finally:
        with Writer.open(many.path) as writer:
            writer.commit(values)


# --- tuning


def test_tuning_fits_it_and_is_undone(many: Engine) -> None:
    report = tune(many, TOPICS, RIGHT)
    assert report.calibration is not None
    assert report.calibration.better
    assert report.calibration.fitted < report.calibration.before
    calibrated = many.calibrated()
    assert calibrated is not None
    assert many.info()["settings"]["calibration"] == to_json(calibrated.calibration)
    assert calibrated.calibration.model == many.snapshot.fields["dense"].encoder["fingerprint"]
    found = many.search("x3 stone", 5, min_probability=0)
    assert found[0].id == "d3"
    assert found[0].probability is not None
    assert found[1].probability is not None
    assert found[0].probability > 0.6 > found[1].probability
    reset(many)
    assert many.calibrated() is None
    assert "calibration" not in many.info()["settings"]


def test_a_dry_run_and_judgements_without_sense_write_nothing(many: Engine) -> None:
    before = (many.path / "manifest.json").read_bytes()
    report = tune(many, TOPICS, RIGHT, dry_run=True)
    assert report.calibration is not None
    assert report.calibration.better
    assert (many.path / "manifest.json").read_bytes() == before
    nowhere = {id: {"absent": 1} for id in TOPICS}
    with pytest.raises(BadInput, match="0 of 40 judged queries have a relevant document"):
        tune(many, TOPICS, nowhere)
    assert (many.path / "manifest.json").read_bytes() == before


def test_a_querys_own_document_is_not_learned_from(many: Engine) -> None:
    [own] = [hit.snippet for hit in many.search("x7", 1)]
    hits = judged_hits(hybrid_of(many), {"d7": own}, {"d7": {"d7": 1}})
    assert len(hits["d7"].relevant) == 10
    assert hits["d7"].relevant.sum() == 0


def test_a_document_that_only_has_a_querys_id_is_learned_from(many: Engine) -> None:
    hits = judged_hits(hybrid_of(many), {"d7": "x7"}, {"d7": {"d7": 1}})
    assert len(hits["d7"].relevant) == 10
    assert hits["d7"].relevant.sum() == 1
