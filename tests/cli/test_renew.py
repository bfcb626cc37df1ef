"""sync, reencode and what is said of encoding, as commands."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from commandline import ROOT, WORDS_ONLY, Run

REPORT = [
    "added", "updated", "unchanged", "skipped", "passages", "encoded", "known", "seconds",
]  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a sparse and a dense model."""
    spec = importlib.util.spec_from_file_location("tiny", ROOT / "tests" / "tiny_models.py")
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    folder = tmp_path_factory.mktemp("models")
    sparse = tiny.make_bert(folder / "sparse", masked=True)
    return sparse, tiny.make_bert(folder / "dense", masked=False)


def test_sync_says_what_it_did(cli: Run, folder: Path) -> None:
    assert cli("index", "s.index", "notes.jsonl", *WORDS_ONLY).code == 0
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The moon.")
    (texts / "b.txt").write_text("The sun.")
    (texts / "c.bin").write_bytes(b"\0\1")
    dry = cli("sync", "s.index", "texts", "--dry-run").lines
    assert [dry[0][name] for name in ("added", "removed")] == [2, 0]
    done = cli("sync", "s.index", "texts")
    assert [list(line) for line in done.lines] == [[*REPORT, "removed"]]
    assert done.lines[0]["added"] == 2
    assert "skipped" in done.err
    (texts / "a.txt").unlink()
    table = cli("sync", "s.index", "texts", "--format", "table")
    assert "0 added, 0 updated, 1 unchanged, 0 skipped, 0 passages, 1 removed" in table.out
    assert cli("info", "s.index").lines[0]["documents"] == 5
    shutil.rmtree(texts)
    gone = cli("sync", "s.index", "texts")
    assert (gone.code, gone.out) == (1, "")
    assert "no such folder" in gone.error
    texts.mkdir()
    empty = cli("sync", "s.index", "texts")
    assert (empty.code, "--allow-empty" in empty.error) == (1, True)
    assert cli("sync", "s.index", "texts", "--allow-empty").lines[0]["removed"] == 1


def test_the_next_sync_takes_back_what_update_changed(cli: Run, folder: Path) -> None:
    """As `update --help` says: the index says what the files say."""
    Path("kept").mkdir()
    Path("kept/a.jsonl").write_text('{"id": "a", "text": "the cat", "year": 1}\n')
    cli("index", "s.index", "kept", "--no-sparse", "--no-dense")
    cli("sync", "s.index", "kept")
    assert cli("update", "s.index", "a", "--set", "year=9").lines[0]["updated"] == 1
    assert cli("sync", "s.index", "kept").lines[0]["updated"] == 1
    (shown,) = cli("browse", "s.index").lines
    assert shown["metadata"] == {"year": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sync", "no.index", "collection"), "holds no index"),
        (("sync", "notes.index", "notes.jsonl"), "no such folder"),
        (("sync", "notes.index", "nowhere"), "no such folder"),
        (("reencode", "no.index"), "holds no index"),
        (("reencode", "notes.index", "--dense-model", "./nowhere"), "does not exist"),
        (("add", "notes.index", "more.jsonl", "--cache", "notes.jsonl"), "cannot be used"),
        (("add", "notes.index", "more.jsonl", "--cache", "no/where"), "in a folder that is there"),
    ],
)
def test_mistakes_get_one_line(cli: Run, notes: Path, arguments: tuple[str, ...], message: str):
    before = Path("notes.jsonl").read_bytes()
    result = cli(*arguments)
    assert (result.code, result.out) == (1, "")
    assert message in result.error
    assert cli("info", notes).lines[0]["documents"] == 4
    assert Path("notes.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("--no-dense", "--dense-model", "x"), ("--abandon", "--no-sparse")]
)
def test_wrong_usage(cli: Run, notes: Path, arguments: tuple[str, ...]) -> None:
    assert cli("reencode", notes, *arguments).code == 2


def test_the_encoding_that_was_done_is_told(
    cli: Run, folder: Path, models: tuple[Path, Path]
) -> None:
    options = ("--sparse-model", models[0], "--dense-model", models[1], "--cache", "vectors")
    first = cli("index", "m.index", "notes.jsonl", *options)
    assert "encoded 4 of 4 passages; 0 were known" in first.err
    again = cli("index", "n.index", "notes.jsonl", *options)
    assert "encoded 0 of 4 passages; 4 were known" in again.err
    added = cli("add", "m.index", "more.jsonl")
    assert "encoded 2 of 2 passages; 0 were known" in added.err
    assert [list(line) for line in added.lines] == [REPORT]


def test_reencode(cli: Run, folder: Path, notes: Path, models: tuple[Path, Path]) -> None:
    before = cli("search", notes, "moon", "-r", "bm25").lines
    done = cli("reencode", notes, "--dense-model", models[1], "--sparse-model", models[0])
    assert (done.code, done.lines[0]["added"]) == (0, 4), done.err
    assert "encoded 4 of 4 passages" in done.err
    assert cli("search", notes, "moon", "-r", "bm25").lines == before
    assert cli("search", notes, "moon", "-r", "dense").code == 0
    table = cli("reencode", notes, "--no-sparse", "--format", "table").out
    assert table.startswith(f"{notes}: 4 added")
    info = cli("info", notes).lines[0]
    assert info["settings"]["dense_model"] == str(models[1])
    assert info["retrievers"] == ["bm25", "bm25_passage", "dense", "hybrid"]
    assert cli("verify", notes).lines == []
    assert cli("reencode", notes, "--abandon").code == 0
