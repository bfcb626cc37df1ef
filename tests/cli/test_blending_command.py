"""`searchlib blend`: from an index to one that is re-encoded with the blend."""

from __future__ import annotations

from pathlib import Path

from commandline import Run


def test_blend_reencode_search(cli: Run, song_index: str) -> None:
    shown = cli("blend", song_index, "--out", "blended", "--format", "table")
    assert shown.code == 0, shown.err
    assert "fitted to 12 passages" in shown.out
    assert shown.out.endswith("next: searchlib reencode i.index --sparse-model blended\n")
    (done,) = cli("reencode", song_index, "--sparse-model", "blended").lines
    assert (done["encoded"], done["known"]) == (0, 12)
    for retriever in ("sparse", "hybrid", "lookup"):
        hits = cli("search", song_index, "the leaf and the car", "-r", retriever, "-k", "3").lines
        assert len(hits) == 3
    assert cli("explain", song_index, "leaf", "s11", "-r", "sparse").code == 0
    again = cli("blend", song_index, "--out", "blended")
    assert again.error.endswith("name a new folder")
    assert cli("blend", song_index, "--out", "other").code == 0


def test_mistakes_are_one_line(cli: Run, song_index: str, notes: Path) -> None:
    for arguments, reason in (
        ((notes, "--out", "x"), "has no sparse vectors"),
        ((song_index, "--out", "x", "--query-share", "2"), "illegal query share: 2.0"),
        ((song_index, "--out", "nowhere/x"), "is no folder; make it first"),
        (("absent.index", "--out", "x"), "absent.index"),
    ):
        result = cli("blend", *arguments)
        assert result.code == 1
        assert reason in result.error
    (made,) = cli("blend", song_index, "--out", "x", "--format", "json").lines
    assert made["passages"] == 12
