"""Sizes, durations, progress lines and snippets, as they are read and printed."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import commandline
import pytest
import typer

assert commandline.ROOT  # makes `cli` importable under plain `pytest`

from cli import output, progress  # noqa: E402
from cli.options import size  # noqa: E402
from cli.output import marked, plain, print_table, tree  # noqa: E402
from searchlib import indexing  # noqa: E402
from searchlib.types import Explanation, Hit  # noqa: E402


@pytest.mark.parametrize(
    ("text", "bytes"),
    [("512MB", 512_000_000), ("2GiB", 2 << 30), ("1.5k", 1500), ("1000", 1000), (" 1 gb ", 10**9)],
)
def test_size(text: str, bytes: int) -> None:
    assert size(text) == bytes


@pytest.mark.parametrize("text", ["", "much", "-1MB", "0", "1.2.3k", "MB", "."])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no size"):
        size(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert progress.duration(seconds) == shown


def test_progress_away_from_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.Progress("documents") as show:
        for done in range(0, 2001, 100):
            show(done, 5000, "dense")
            now += 1.0  # 100 documents a second
    lines = sys.stderr.getvalue().splitlines()
    assert lines == [
        "1,000 of 5,000 documents, 100.0/s, 40 s left, dense",
        "2,000 of 5,000 documents, 100.0/s, 30 s left, dense",
    ]


def test_the_rate_counts_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.Progress("documents") as show:
        show(1000, 1300, indexing.UNCHANGED)
        now += 10.0
        show(1100, 1300, "dense")
    assert sys.stderr.getvalue() == "1,100 of 1,300 documents, 10.0/s, 20 s left, dense\n"


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.Progress("documents") as show:
        show(10, 100, "sparse")
        show.say("skipped: x.jsonl:3: not JSON")
    assert "10 of 100 documents" in sys.stderr.getvalue()
    assert "skipped: x.jsonl:3: not JSON" in sys.stderr.getvalue()


def test_marked_words_stand_out() -> None:
    text = marked("the **moon** [red]pulls[/red] the **sea**")
    assert text.plain == "the moon [red]pulls[/red] the sea"
    assert [text.plain[span.start : span.end] for span in text.spans if span.style] == [
        "moon",
        "sea",
    ]


def test_a_title_shows_its_matched_words(capsys: pytest.CaptureFixture[str]) -> None:
    hit = Hit(1, "n1", 1.0, "The moon", "It rises.", "n1", 0, 0, 9, marked_title="The **moon**")
    heading = output._heading(hit)
    assert heading.plain == "The moon  n1"
    assert [heading.plain[s.start : s.end] for s in heading.spans if s.style == "bold"] == ["moon"]
    untitled = output._heading(replace(hit, title="", marked_title=""))
    assert untitled.plain == "n1"
    values = output.hit_to_dict(hit)
    assert (values["title"], "marked_title" in values) == ("The moon", False)


def test_nothing_that_is_printed_is_obeyed_by_the_terminal() -> None:
    evil = "a\x1b[31m\u202eb\x9b2J"
    assert plain(f" {evil}\n\tc") == "a\ufffd[31m\ufffdb\ufffd2J c"
    assert marked(f"**{evil}**").plain == "a\ufffd[31m\ufffdb\ufffd2J"


def test_numbers_are_never_broken_and_nothing_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("", *(f">n{i}" for i in range(7))), [("x" * 90, *("-0.1234" for _ in range(7)))])
    out = capsys.readouterr().out
    assert out.count("-0.1234") == 7
    assert out.count("x") == 90
    print_table(
        ("queries", ">before", ">after", ">difference", ">p"),
        [("held-out judged queries, sparse, nDCG@10", "0.1234", "0.5678",
          "+0.0358 (-0.1171 to +0.1861)", "0.7500")],
    )  # fmt: skip
    told = " ".join(capsys.readouterr().out.split())
    assert "0.1234 0.5678 +0.0358 (-0.1171 to +0.1861) 0.7500" in told
    print_table(("", ""), [("settings.of.a.long.name.that.goes.on", "v" * 90)])
    assert "settings.of.a.long.name.that.goes.on" in capsys.readouterr().out


def test_an_explanation_is_drawn_as_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.output import show

    parts = (Explanation(2.0, "idf"), Explanation(0.5, "tf", note="twice"))
    show(tree(Explanation(1.0, "moon", "product", parts), "note-3"))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "note-3  1.0000  moon  (product of)",
        "├── 2.0000  idf",
        "└── 0.5000  tf  twice",
    ]


def test_no_command_needs_more_than_its_help_to_be_understood() -> None:
    # a module of the command line parses, calls and prints; long ones hide logic
    for path in (Path(commandline.ROOT) / "cli").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
