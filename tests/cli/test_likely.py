"""Probabilities on the command line: shown, asked for, and said where nothing is good."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from commandline import Run

from indexes.writer import Writer
from searchlib import Engine
from searchlib.calibration import Calibration

CERTAIN = Calibration(base=3.0, share=1.0, cosine=0.0, whole=1.0)
HOPELESS = replace(CERTAIN, base=-9.0)


@pytest.fixture
def index(folder: Path, cli: Run, tiny_dense: Path, tiny_sparse: Path) -> Path:
    """An index of the notes with tiny models."""
    models = ("--dense-model", tiny_dense, "--sparse-model", tiny_sparse)
    done = cli("index", "all.index", "collection", *models)
    assert done.code == 0, done.err
    return folder / "all.index"


def calibrated(index: Path, calibration: Calibration) -> None:
    with Engine.open(index) as engine, Writer.open(index) as writer:
        made_with = engine.snapshot.fields["dense"].encoder["fingerprint"]
        own = replace(calibration, model=made_with)
        writer.commit(engine.settings.to_json() | {"calibration": asdict(own)})


def test_hits_tell_their_probability(cli: Run, index: Path) -> None:
    plain = cli("search", index, "water").lines
    assert not any("probability" in hit for hit in plain)
    calibrated(index, CERTAIN)
    done = cli("search", index, "water")
    assert done.err == ""
    probabilities = [hit.pop("probability") for hit in done.lines]
    assert all(0.5 < p <= 1 for p in probabilities)
    assert [{k: v for k, v in h.items() if k != "probability"} for h in done.lines] == plain
    shown = cli("search", index, "water", "--explain", "--format", "table").out
    assert f"(p = {probabilities[0]:.2f})" in shown
    words = cli("search", index, "water", "-r", "bm25")
    assert words.err == ""
    assert not any("probability" in hit for hit in words.lines)


def test_nothing_good_is_said_and_hits_are_shown(cli: Run, index: Path) -> None:
    calibrated(index, HOPELESS)
    done = cli("search", index, "water")
    assert done.error.endswith("nothing good found: the best match is likely off-topic (p = 0.00)")
    assert len(done.lines) == 4
    assert cli("search", index, "water", "--offset", "1").err == ""
    assert cli("search", index, "water", "-r", "dense").err == ""
    both = cli("search", index, "-", stdin="water\nbread\n")
    assert both.err.count("nothing good found") == 2
    assert "searchlib: 'bread': nothing good found" in both.err  # which of them
    both = cli("search", index, "-", stdin="water\nbreaad\n")
    assert "read as 'bread'" in both.err
    assert "searchlib: 'breaad': nothing good found" in both.err  # as it was typed


def test_improbable_hits_are_left_out(cli: Run, index: Path) -> None:
    calibrated(index, CERTAIN)
    hits = cli("search", index, "water").lines
    bar = sorted(hit["probability"] for hit in hits)[2]
    kept = cli("search", index, "water", "--min-probability", repr(bar)).lines
    assert kept == [hit for hit in hits if hit["probability"] >= bar]
    best = max(hit["probability"] for hit in hits)
    done = cli("search", index, "water", "--min-probability", "1")
    assert done.lines == []
    assert done.error.endswith(f"nothing is as probable as 1: the best match has p = {best:.2f}")
    calibrated(index, HOPELESS)
    done = cli("search", index, "water", "--min-probability", "0.5")
    assert done.lines == []
    assert "nothing good found" in done.error


def test_what_cannot_be_had_is_refused(cli: Run, index: Path) -> None:
    asked = ("search", index, "water", "--min-probability", "0.5")
    done = cli(*asked)
    assert done.code == 1
    assert "not calibrated" in done.error
    calibrated(index, CERTAIN)
    done = cli(*asked, "-r", "bm25")
    assert done.code == 1
    assert "only scores of 'hybrid'" in done.error
    done = cli(*asked, "--cursor", "start")
    assert done.code == 1
    assert "--cursor goes without --min-probability" in done.error
    done = cli("search", index, "water", "--min-probability", "2")
    assert done.code == 1
    assert "illegal --min-probability: 2.0, must be between 0 and 1" in done.error


def test_explain_says_what_it_rests_on(cli: Run, index: Path) -> None:
    assert "relevance" not in cli("explain", index, "water", "note-1").lines[0]
    calibrated(index, CERTAIN)
    [hit] = [hit for hit in cli("search", index, "water").lines if hit["id"] == "note-1"]
    [line] = cli("explain", index, "water", "note-1").lines
    assert line["relevance"]["note"] == f"probability {hit['probability']:.2f}"
    assert [part["name"] for part in line["relevance"]["parts"]] == [
        "base", "share", "cosine", "whole",
    ]  # fmt: skip
    table = cli("explain", index, "water", "note-1", "--format", "table").out
    assert "log-odds that it is relevant" in table
    assert "relevance" not in cli("explain", index, "water", "note-1", "-r", "bm25").lines[0]


@pytest.mark.parametrize("options", [(), ("--passages",)])
def test_a_filtered_hit_is_explained(cli: Run, index: Path, options: tuple[str, ...]) -> None:
    calibrated(index, CERTAIN)
    options = (*options, "--where", "id != 'note-4'")
    hits = cli("search", index, "water leaves", *options).lines
    unfiltered = []
    for hit in hits:
        [line] = cli("explain", index, "water leaves", hit["id"], *options).lines
        assert line["explanation"]["value"] == pytest.approx(hit["score"], abs=1e-5)
        assert line["relevance"]["note"] == f"probability {hit['probability']:.2f}"
        [line] = cli("explain", index, "water leaves", hit["id"]).lines
        unfiltered.append(line["explanation"]["value"])
    assert unfiltered != pytest.approx([hit["score"] for hit in hits], abs=1e-3)


def test_words_that_no_document_has_are_said(cli: Run, index: Path) -> None:
    calibrated(index, HOPELESS)
    done = cli("search", index, "zyzzyva quux")
    assert done.error.endswith(
        "no document has any word of the query: what is nearest by meaning is likely off-topic "
        "(p = 0.00)"
    )
    assert len(done.lines) > 0
    assert "nothing good found" in cli("search", index, "zyzzyva water").error
    assert "nothing good found" in cli("search", index, "the").error
    done = cli("search", index, "zyzzyva", "--where", "id != 'note-1'")
    assert "no document that the filter selects has any word of the query" in done.error
    calibrated(index, CERTAIN)
    assert cli("search", index, "zyzzyva quux").err == ""  # nearest by meaning, and likely right


@pytest.mark.parametrize("query", ["water", "how salty is water"])
def test_the_same_is_said_however_short_a_query_is(
    cli: Run, index: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    with Engine.open(index) as engine:
        name = engine.snapshot.fields["dense"].encoder["model"]
    for calibration, told in ((HOPELESS, True), (CERTAIN, False)):
        monkeypatch.setattr("searchlib.evidence.DEFAULT", replace(calibration, model=name))
        assert ("nothing good found" in cli("search", index, query).err) is told
