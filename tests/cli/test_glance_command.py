"""`searchlib glance`: queries without a network, fitted to an index."""

from __future__ import annotations

from pathlib import Path

from commandline import Run

LEARN = ("--runs", "50", "--epochs", "3")


def test_glance_reencode_search(cli: Run, song_index: str) -> None:
    assert cli("search", song_index, "cat", "-r", "static").error.endswith("hybrid, instant")
    shown = cli("glance", song_index, "--out", "t", *LEARN, "--format", "table")
    assert shown.code == 0, shown.err
    assert "fitted to 12 passages and 50 runs of their words" in shown.out
    assert shown.out.endswith("next: searchlib reencode i.index --static-queries t\n")
    done = cli("reencode", song_index, "--static-queries", "t")
    assert (done.code, done.lines[0]["encoded"]) == (0, 0)
    info = cli("info", song_index).lines[0]
    assert Path(info["settings"]["static_queries"]).name == "t"
    for retriever in ("static", "instant", "lookup"):
        hits = cli("search", song_index, "the cat and the boat", "-r", retriever, "-k", "3").lines
        assert len(hits) == 3
        assert "probability" not in hits[0]
        assert cli("explain", song_index, "boat", hits[0]["id"], "-r", retriever).code == 0
    again = cli("glance", song_index, "--out", "t", *LEARN)
    assert again.error.endswith("name a new folder")
    assert cli("reencode", song_index, "--static-queries", "searchlib/glance").code == 0
    assert "static" not in cli("info", song_index).lines[0]["retrievers"]


def test_a_table_that_went_away(cli: Run, song_index: str, folder: Path) -> None:
    cli("glance", song_index, "--out", "t", *LEARN)
    cli("reencode", song_index, "--static-queries", "t")
    (folder / "t").rename(folder / "u")
    for retriever in ("static", "instant"):
        assert "/t' does not exist" in cli("search", song_index, "cat", "-r", retriever).error
    assert cli("search", song_index, "cat").code == 0
    assert cli("info", song_index).code == 0


def test_mistakes_are_one_line(cli: Run, song_index: str, notes: Path, tiny_dense: Path) -> None:
    for arguments, reason in (
        ((notes, "--out", "x"), "has no dense vectors to learn from"),
        ((song_index, "--out", "x", "--runs", "0"), "illegal runs value: 0"),
        (
            (song_index, "--out", "x", "--sample", "5"),
            "illegal sample value: 5, must be 10 or more",
        ),
        ((song_index, "--out", "nowhere/x"), "is no folder; make it first"),
        (("absent.index", "--out", "x"), "absent.index"),
    ):
        refused = cli("glance", *arguments)
        assert refused.code == 1
        assert reason in refused.error
    for table, reason in (
        ("nowhere", "nowhere"),
        (tiny_dense, "has no table of queries' vectors"),
    ):
        refused = cli("reencode", song_index, "--static-queries", table)
        assert refused.code == 1
        assert reason in refused.error
