"""`searchlib glance`: queries without a network, fitted to an index."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Run, write_jsonl

WORDS = (
    "cat",
    "dog",
    "bird",
    "boat",
    "river",
    "bread",
    "oven",
    "tree",
    "light",
    "fish",
    "car",
    "leaf",
)
LEARN = ("--runs", "50", "--epochs", "3")


@pytest.fixture
def songs(cli: Run, folder: Path, tiny_dense: Path, tiny_sparse: Path) -> str:
    songs = [
        {"id": f"s{i}", "text": f"the {w} and the {WORDS[i - 1]}"} for i, w in enumerate(WORDS)
    ]
    write_jsonl(folder / "songs.jsonl", *songs)
    done = cli(
        "index", "i.index", "songs.jsonl", "--dense-model", tiny_dense,
        "--sparse-model", tiny_sparse,
    )  # fmt: skip
    assert done.code == 0, done.err
    return "i.index"


def test_glance_reencode_search(cli: Run, songs: str) -> None:
    assert cli("search", songs, "cat", "-r", "static").error.endswith("hybrid, instant")
    shown = cli("glance", songs, "--out", "t", *LEARN, "--format", "table")
    assert shown.code == 0, shown.err
    assert "fitted to 12 passages and 50 runs of their words" in shown.out
    assert shown.out.endswith("next: searchlib reencode i.index --static-queries t\n")
    done = cli("reencode", songs, "--static-queries", "t")
    assert (done.code, done.lines[0]["encoded"]) == (0, 0)
    info = cli("info", songs).lines[0]
    assert Path(info["settings"]["static_queries"]).name == "t"
    for retriever in ("static", "instant", "lookup"):
        hits = cli("search", songs, "the cat and the boat", "-r", retriever, "-k", "3").lines
        assert len(hits) == 3
        assert "probability" not in hits[0]
        assert cli("explain", songs, "boat", hits[0]["id"], "-r", retriever).code == 0
    again = cli("glance", songs, "--out", "t", *LEARN)
    assert again.error.endswith("name a new folder")
    assert cli("reencode", songs, "--static-queries", "searchlib/glance").code == 0
    assert "static" not in cli("info", songs).lines[0]["retrievers"]


def test_a_table_that_went_away(cli: Run, songs: str, folder: Path) -> None:
    cli("glance", songs, "--out", "t", *LEARN)
    cli("reencode", songs, "--static-queries", "t")
    (folder / "t").rename(folder / "u")
    for retriever in ("static", "instant"):
        assert "/t' does not exist" in cli("search", songs, "cat", "-r", retriever).error
    assert cli("search", songs, "cat").code == 0
    assert cli("info", songs).code == 0


def test_mistakes_are_one_line(cli: Run, songs: str, notes: Path, tiny_dense: Path) -> None:
    for arguments, reason in (
        ((notes, "--out", "x"), "has no dense vectors to learn from"),
        ((songs, "--out", "x", "--runs", "0"), "illegal runs value: 0"),
        ((songs, "--out", "x", "--sample", "5"), "illegal sample value: 5, must be 10 or more"),
        ((songs, "--out", "nowhere/x"), "is no folder; make it first"),
        (("absent.index", "--out", "x"), "absent.index"),
    ):
        refused = cli("glance", *arguments)
        assert refused.code == 1
        assert reason in refused.error
    for table, reason in (
        ("nowhere", "nowhere"),
        (tiny_dense, "has no table of queries' vectors"),
    ):
        refused = cli("reencode", songs, "--static-queries", table)
        assert refused.code == 1
        assert reason in refused.error
