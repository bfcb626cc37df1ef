"""`searchlib search` with --feedback and --rerank."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commandline import ROOT, Run

sys.path.append(str(ROOT / "tests"))


def test_feedback_finds_what_the_question_does_not_name(cli: Run, notes: Path) -> None:
    plain = cli("search", notes, "roots", "-r", "bm25").lines
    hits = cli("search", notes, "roots", "-r", "bm25", "--feedback", "--explain").lines
    assert [hit["id"] for hit in plain] == ["note-4"]
    assert len(hits) > 1
    for hit in hits:
        assert hit["explanation"]["value"] == pytest.approx(hit["score"], rel=1e-4)
    assert "feedback from note-4#0" in str(hits[1]["explanation"])
    options = ("--feedback-terms", "1", "--feedback-passages", "1", "--feedback-weight", "1")
    same = cli("search", notes, "roots", "-r", "bm25", "--feedback", *options).lines
    assert [(hit["id"], hit["score"]) for hit in same if hit["score"]] == [
        (hit["id"], pytest.approx(hit["score"])) for hit in plain
    ]


def test_a_cross_encoder_orders_the_best(cli: Run, notes: Path) -> None:
    from tiny_models import make_classifier

    model = make_classifier(notes.parent / "cross")
    for more in ((), ("--rerank-depth", "2"), ("--feedback",), ("--offset", "1")):
        done = cli("search", notes, "water", "-r", "bm25", "--rerank", model, "--explain", *more)
        scores = [hit["score"] for hit in done.lines]
        assert scores, done.err
        assert scores == sorted(scores, reverse=True)
        for hit in done.lines:
            assert hit["explanation"]["value"] == pytest.approx(hit["score"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--feedback-terms", "5"), "--feedback-terms needs --feedback"),
        (("--rerank-depth", "5"), "--rerank-depth needs --rerank"),
        (("--feedback", "--feedback-weight", "2"), "illegal feedback weight: 2.0"),
        (("--feedback", "--feedback-passages", "0"), "illegal number of feedback passages: 0"),
        (("--rerank", "./nowhere"), "model folder './nowhere' does not exist"),
        (("--rerank", "collection"), "holds no model"),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Run, notes: Path, options: tuple[str, ...], message: str
) -> None:
    done = cli("search", notes, "water", "-r", "bm25", *options)
    assert done.code != 0
    assert message in done.error
    assert done.out == ""
