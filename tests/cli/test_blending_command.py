"""`searchlib blend`: from an index to one that is re-encoded with the blend."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Run, write_jsonl

WORDS = [
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
]
SONGS = [
    {"id": f"s{i}", "title": "Song", "text": f"the {WORDS[i]} and the {WORDS[i - 1]}"}
    for i in range(12)
]


@pytest.fixture
def songs(folder: Path, cli: Run, tiny_dense: Path, tiny_sparse: Path) -> str:
    write_jsonl(folder / "songs.jsonl", *SONGS)
    done = cli(
        "index", "i.index", "songs.jsonl", "--dense-model", tiny_dense, "--sparse-model",
        tiny_sparse,
    )  # fmt: skip
    assert done.code == 0, done.err
    return "i.index"


def test_blend_reencode_search(cli: Run, songs: str) -> None:
    shown = cli("blend", songs, "--out", "blended", "--format", "table")
    assert shown.code == 0, shown.err
    assert "fitted to 12 passages" in shown.out
    assert shown.out.endswith("next: searchlib reencode i.index --sparse-model blended\n")
    (done,) = cli("reencode", songs, "--sparse-model", "blended").lines
    assert (done["encoded"], done["known"]) == (0, 12)
    for retriever in ("sparse", "hybrid", "lookup"):
        hits = cli("search", songs, "the leaf and the car", "-r", retriever, "-k", "3").lines
        assert len(hits) == 3
    assert cli("explain", songs, "leaf", "s11", "-r", "sparse").code == 0
    again = cli("blend", songs, "--out", "blended")
    assert again.error.endswith("name a new folder")
    assert cli("blend", songs, "--out", "other").code == 0


def test_mistakes_are_one_line(cli: Run, songs: str, notes: Path) -> None:
    for arguments, reason in (
        ((notes, "--out", "x"), "has no sparse vectors"),
        ((songs, "--out", "x", "--query-share", "2"), "illegal query share: 2.0"),
        ((songs, "--out", "nowhere/x"), "is no folder; make it first"),
        (("absent.index", "--out", "x"), "absent.index"),
    ):
        result = cli("blend", *arguments)
        assert result.code == 1
        assert reason in result.error
    (made,) = cli("blend", songs, "--out", "x", "--format", "json").lines
    assert made["passages"] == 12
