"""Fixtures: running `searchlib ...` in this process, a folder of its own, a small index."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from commandline import NOTES, WORDS_ONLY, Result, Run, next_or_eof, write_jsonl

SONG_WORDS = "cat dog bird boat river bread oven tree light fish car leaf"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line as if stdin and stdout were pipes; `typed`: as if stdin were a person."""
    from cli.app import main

    def run(*arguments: object, stdin: str | bytes = "", typed: list[str] | None = None) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        pipe = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", pipe)
        if typed is not None:
            lines = iter(typed)
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
            monkeypatch.setattr("builtins.input", lambda prompt: next_or_eof(lines))
        monkeypatch.setenv("SEARCHLIB_DEBUG", "")
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test: notes.jsonl, more.jsonl and a BEIR folder `collection`."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "notes.jsonl", *NOTES)
    write_jsonl(
        tmp_path / "more.jsonl",
        {"id": "note-5", "title": "Salt", "text": "Salt makes water boil later.", "year": 2020},
        {**NOTES[1], "text": "Yeast makes the dough rise. Wait an hour."},
    )
    beir = tmp_path / "collection"
    write_jsonl(
        beir / "corpus.jsonl",
        *({"_id": n["id"], "title": n["title"], "text": n["text"]} for n in NOTES),
    )
    write_jsonl(
        beir / "queries.jsonl",
        {"_id": "q1", "text": "how do plants eat"},
        {"_id": "q2", "text": "why does bread dough rise"},
        {"_id": "q3", "text": "not judged"},
    )
    (beir / "qrels").mkdir()
    (beir / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\tnote-1\t2\nq1\tnote-4\t1\nq2\tnote-2\t1\n"
    )
    return tmp_path


@pytest.fixture
def notes(folder: Path, cli: Run) -> Path:
    """A BM25 index of the notes, `notes.index`, in the current folder."""
    done = cli("index", "notes.index", "notes.jsonl", *WORDS_ONLY)
    assert done.code == 0, done.err
    return folder / "notes.index"


@pytest.fixture
def song_index(folder: Path, cli: Run, tiny_dense: Path, tiny_sparse: Path) -> str:
    """An index of twelve songs, with tiny models."""
    words = SONG_WORDS.split()
    songs = [
        {"id": f"s{i}", "title": "Song", "text": f"the {word} and the {words[i - 1]}"}
        for i, word in enumerate(words)
    ]
    write_jsonl(folder / "songs.jsonl", *songs)
    done = cli(
        "index", "i.index", "songs.jsonl", "--dense-model", tiny_dense, "--sparse-model",
        tiny_sparse,
    )  # fmt: skip
    assert done.code == 0, done.err
    return "i.index"
