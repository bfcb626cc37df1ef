"""`searchlib search` with --feedback and --rerank."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Run
from tiny_models import make_classifier


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
    model = make_classifier(notes.parent / "cross")
    for more in ((), ("--rerank-depth", "9"), ("--feedback",), ("--offset", "1")):
        done = cli("search", notes, "water", "-r", "bm25", "--rerank", model, "--explain", *more)
        scores = [hit["score"] for hit in done.lines]
        assert scores, done.err
        assert scores == sorted(scores, reverse=True)
        for hit in done.lines:
            assert hit["explanation"]["value"] == pytest.approx(hit["score"])
    two = cli("search", notes, "water", "-r", "bm25", "--rerank", model, "--rerank-depth", "2")
    first = cli("search", notes, "water", "-r", "bm25", "-k", "2")
    assert {h["id"] for h in two.lines[:2]} == {h["id"] for h in first.lines}  # two at a time
    assert len(two.lines) > 2


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
    assert message in (done.error if done.code == 1 else done.err)
    assert done.out == ""
