"""What careless use gets: one clear line on stderr, exit code 1, no traceback, nothing lost."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import NOTES, ROOT, WORDS_ONLY, Result, Run, process, write_jsonl


def refused(result: Result, *words: str) -> str:
    """The one line on stderr of a command that failed as it should; it holds all `words`."""
    assert (result.code, result.out) == (1, ""), result
    for word in words:
        assert word in result.error
    return result.error


def still_whole(cli: Run, index: Path, documents: int = len(NOTES)) -> None:
    """The index answers as before."""
    assert cli("verify", index).lines == []
    assert cli("info", index).lines[0]["documents"] == documents
    assert cli("search", index, "moon").lines[0]["id"] == "note-3"


# -- wrong paths


@pytest.mark.parametrize(
    "command",
    [("search", "absent.index", "x"), ("info", "absent.index"), ("verify", "absent.index"),
     ("add", "absent.index", "notes.jsonl"), ("delete", "absent.index", "a"),
     ("explain", "absent.index", "x", "y"), ("run", "absent.index", "collection/queries.jsonl"),
     ("eval", "absent.index", "collection"), ("expand", "x", "--index", "absent.index")],
)  # fmt: skip
def test_no_index_there(cli: Run, folder: Path, command: tuple[str, ...]) -> None:
    refused(cli(*command), "absent.index")
    assert not Path("absent.index").exists()


@pytest.mark.parametrize("source", ["absent.jsonl", "absent/", "collection/absent"])
def test_no_source_there(cli: Run, notes: Path, source: str) -> None:
    refused(cli("add", notes, source), source.rstrip("/"))
    refused(cli("index", "new.index", source, *WORDS_ONLY), source.rstrip("/"))
    still_whole(cli, notes)


def test_a_file_where_an_index_should_be(cli: Run, folder: Path) -> None:
    refused(cli("search", "notes.jsonl", "x"), "notes.jsonl")
    before = Path("notes.jsonl").read_bytes()
    refused(cli("index", "notes.jsonl", "notes.jsonl", *WORDS_ONLY), "a file; name another")
    assert Path("notes.jsonl").read_bytes() == before


def test_a_folder_that_holds_other_things(cli: Run, folder: Path) -> None:
    before = sorted(path.name for path in Path("collection").iterdir())
    refused(cli("index", "collection", "notes.jsonl", *WORDS_ONLY), "collection")
    assert sorted(path.name for path in Path("collection").iterdir()) == before


def test_a_collection_without_its_files(cli: Run, notes: Path) -> None:
    refused(cli("eval", notes, "absent"), "absent")
    Path("collection/queries.jsonl").unlink()
    refused(cli("eval", notes, "collection"), "queries.jsonl")
    refused(cli("run", notes, "absent.tsv"), "absent.tsv")
    refused(cli("compare", "a.run", "b.run", "--qrels", "absent.tsv"), "absent.tsv")


# -- wrong input


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv", "empty.tsv"])
def test_an_empty_file(cli: Run, notes: Path, name: str) -> None:
    Path(name).write_bytes(b"")
    refused(cli("add", notes, name), name)
    still_whole(cli, notes)


def test_an_empty_folder(cli: Run, notes: Path) -> None:
    Path("nothing").mkdir()
    refused(cli("add", notes, "nothing"), "nothing")


BAD = {
    "without-text": (b'{"id": "a"}', "text"),
    "not-json": (b"{nonsense", "JSON"),
    "not-an-object": (b"[1, 2]", "object"),
    "not-utf8": (b'{"id": "a", "text": "caf\xe9"}', "UTF-8"),
    "duplicate": (b'{"id": "note-1", "text": "again"}', "note-1"),
    "text-is-a-number": (b'{"id": "a", "text": {"x": 1}}', "text"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_stops_the_run_and_is_named(cli: Run, folder: Path, case: str) -> None:
    line, reason = BAD[case]
    good = (folder / "notes.jsonl").read_bytes()
    Path("bad.jsonl").write_bytes(good + line + b"\n")
    message = refused(cli("index", "n.index", "bad.jsonl", *WORDS_ONLY), "bad.jsonl", reason)
    assert "bad.jsonl:5" in message or "line 5" in message


@pytest.mark.parametrize("case", BAD)
def test_skip_bad_counts_and_goes_on(cli: Run, folder: Path, case: str) -> None:
    line, _ = BAD[case]
    good = (folder / "notes.jsonl").read_bytes()
    Path("bad.jsonl").write_bytes(good + line + b'\n{"id": "last", "text": "the end"}\n')
    result = cli("index", "n.index", "bad.jsonl", "--skip-bad", *WORDS_ONLY)
    assert result.code == 0, result.err
    assert (result.lines[0]["added"], result.lines[0]["skipped"]) == (5, 1)
    assert "bad.jsonl:5" in result.err
    assert cli("search", "n.index", "end").lines[0]["id"] == "last"


def test_a_document_whose_text_is_empty_is_kept_and_not_found(cli: Run, notes: Path) -> None:
    write_jsonl(Path("blank.jsonl"), {"id": "blank", "title": "", "text": ""})
    assert cli("add", notes, "blank.jsonl").lines[0]["added"] == 1
    assert "blank" not in {hit["id"] for hit in cli("search", notes, "moon water").lines}
    still_whole(cli, notes, documents=len(NOTES) + 1)


def test_a_line_of_100_megabytes(cli: Run, notes: Path) -> None:
    with Path("long.jsonl").open("wb") as file:
        file.write(b'{"id": "a", "text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n')
    refused(cli("add", notes, "long.jsonl"), "long.jsonl:1", "64,000,000 bytes")
    refused(cli("add", notes, "long.jsonl", "--max-document", "1MB"), "1,000,000 bytes")
    still_whole(cli, notes)


def test_a_file_that_is_something_else(cli: Run, notes: Path) -> None:
    Path("picture.jsonl.gz").write_bytes(b"not packed at all")
    refused(cli("add", notes, "picture.jsonl.gz"), "picture.jsonl.gz")
    Path("program.exe").write_bytes(bytes(range(256)))
    refused(cli("add", notes, "program.exe"), "program.exe")
    Path("table.parquet").write_bytes(b"PAR1 nonsense")
    refused(cli("add", notes, "table.parquet"), "table.parquet")
    still_whole(cli, notes)


def test_a_field_that_is_not_there(cli: Run, folder: Path) -> None:
    refused(cli("index", "n.index", "notes.jsonl", "--text", "body", *WORDS_ONLY), "body")


# -- wrong questions


@pytest.mark.parametrize("query", ["", "   ", "\n"])
def test_a_query_of_no_words(cli: Run, notes: Path, query: str) -> None:
    refused(cli("search", notes, query), "query")


@pytest.mark.parametrize("query", ["the of and", "?!", "\U0001f642", "\x00", "zebra"])
def test_a_query_that_matches_nothing_finds_nothing(cli: Run, notes: Path, query: str) -> None:
    result = cli("search", notes, query, "-r", "bm25")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_a_query_of_ten_thousand_words(cli: Run, notes: Path) -> None:
    words = " ".join(f"word{i}" for i in range(10_000)) + " moon"
    assert [hit["id"] for hit in cli("search", notes, words).lines] == ["note-3"]


@pytest.mark.parametrize("k", ["0", "-1"])
def test_k_below_one(cli: Run, notes: Path, k: str) -> None:
    refused(cli("search", notes, "moon", "-k", k), f"k: {k}")
    refused(cli("run", notes, "collection/queries.jsonl", "-k", k), f"k: {k}")


def test_k_beyond_the_index(cli: Run, notes: Path) -> None:
    assert len(cli("search", notes, "water", "-k", "1000000").lines) == 3


def test_an_unknown_retriever(cli: Run, notes: Path) -> None:
    refused(cli("search", notes, "moon", "-r", "bm26"), "bm26", "bm25, bm25_passage, hybrid")
    refused(cli("search", notes, "moon", "-r", "dense"), "dense")
    refused(cli("eval", notes, "collection", "-r", "nonsense"), "nonsense")


@pytest.mark.parametrize(
    "where", ["year >", "year = = 3", "(year = 1", "__import__('os')", "year ~ 3", "'"]
)
def test_a_filter_that_cannot_be_parsed(cli: Run, notes: Path, where: str) -> None:
    refused(cli("search", notes, "moon", "--where", where))


@pytest.mark.parametrize(
    ("one", "other"),
    [("year = 1) or (year = 2", "year = 3"), ("lang = 'a", "b'"), ("year = 1", "")],
)
def test_filters_that_are_none_by_themselves(cli: Run, notes: Path, one: str, other: str) -> None:
    """Together they would be one, of another meaning."""
    for first, second in ((one, other), (other, one)):
        refused(cli("browse", notes, "--where", first, "--where", second), "filter")
        refused(cli("delete", notes, "--where", first, "--where", second), "filter")
    assert cli("info", notes).lines[0]["documents"] == 4


def test_queries_of_stdin_that_are_no_text(cli: Run, notes: Path) -> None:
    done = cli("search", notes, "-", stdin=b"moon \xff\n")
    assert done.code == 0
    assert done.lines[0]["query"] == "moon \ufffd"


def test_what_is_wrong_with_stdin_is_said_of_stdin(cli: Run, notes: Path) -> None:
    refused(cli("run", notes, "-", stdin="no tab\n"), "stdin:1: no tab")


def test_an_unknown_measure(cli: Run, notes: Path) -> None:
    refused(cli("eval", notes, "collection", "--measures", "nDCG@ten"), "nDCG@ten")


def test_an_unknown_document(cli: Run, notes: Path) -> None:
    refused(cli("explain", notes, "moon", "note-99"), "note-99")
    refused(cli("explain", notes, "moon", "note-1#7"), "#7")
    result = cli("delete", notes, "note-1", "note-99")
    assert (result.code, result.lines) == (1, [{"deleted": 1}])
    assert "1 of 2" in result.error


# -- wrong models and settings


def test_a_model_that_is_not_there(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for option in ("--dense-model", "--sparse-model"):
        other = "--no-sparse" if option == "--dense-model" else "--no-dense"
        result = cli("index", "m.index", "notes.jsonl", option, "nobody/no-such-model", other)
        refused(result, "nobody/no-such-model")
        assert not Path("m.index").exists()
    refused(cli("expand", "moon", "--model", "./absent"), "absent")
    refused(cli("expand", "moon", "--model", "collection"), "collection")


def test_settings_other_than_the_index_was_made_with(cli: Run, notes: Path) -> None:
    refused(cli("index", notes, "more.jsonl", "--k1", "2"), "k1", "0.9", "2")
    refused(cli("index", notes, "more.jsonl", "--dense-model", "some/model"), "dense_model")
    still_whole(cli, notes)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--k1", "-1"), ("--b", "1.4"), ("--passage-tokens", "2"), ("--overlap", "999"),
     ("--language", "klingon")],
)  # fmt: skip
def test_a_setting_out_of_its_range(cli: Run, folder: Path, option: str, value: str) -> None:
    refused(cli("index", "n.index", "notes.jsonl", option, value, *WORDS_ONLY), value)
    assert not Path("n.index").exists()


# -- damage, permissions, full disks


def index_files(index: Path) -> list[Path]:
    return sorted(path for path in index.rglob("*") if path.is_file() and path.stat().st_size)


def test_a_damaged_file_is_named_and_never_crashes(cli: Run, notes: Path) -> None:
    for path in index_files(notes):
        good = path.read_bytes()
        for bad in (good[: len(good) // 2], b"", bytes(byte ^ 0xFF for byte in good)):
            path.chmod(0o644)
            path.write_bytes(bad)
            result = process("verify", notes, cwd=notes.parent)
            if path.name.endswith("lock"):
                assert result.code == 0
            else:
                assert result.code == 1, path
                assert path.name in result.out + result.error
            searched = process("search", notes, "moon", cwd=notes.parent)
            assert searched.code in (0, 1), (path, searched)
            assert "Traceback" not in searched.err
            assert "this is a bug" not in searched.err
        path.write_bytes(good)
    still_whole(cli, notes)


def test_a_missing_file_is_named(cli: Run, notes: Path) -> None:
    for path in index_files(notes):
        if path.name.endswith("lock"):
            continue
        good = path.read_bytes()
        path.unlink()
        refused(process("search", notes, "moon", cwd=notes.parent))
        path.write_bytes(good)
    still_whole(cli, notes)


def without_root_powers() -> None:
    """In the child: root obeys file permissions too (drops CAP_DAC_OVERRIDE and _READ_SEARCH)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def test_no_permission(cli: Run, notes: Path) -> None:
    def forbidden(*arguments: object) -> str:
        return refused(process(*arguments, cwd=notes.parent, before=without_root_powers))

    notes.chmod(0o500)
    try:
        assert "notes.index" in forbidden("add", notes, "more.jsonl")
    finally:
        notes.chmod(0o700)
    still_whole(cli, notes)
    secret = Path("secret.jsonl")
    secret.write_text('{"id": "s", "text": "secret"}\n')
    secret.chmod(0)
    assert "secret.jsonl" in forbidden("add", notes, "secret.jsonl")
    locked = Path("locked")
    locked.mkdir(mode=0o500)
    try:
        assert "locked" in forbidden("index", "locked/n.index", "notes.jsonl", *WORDS_ONLY)
    finally:
        locked.chmod(0o700)


def test_a_full_disk(cli: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "no space left" in refused(cli("add", notes, "more.jsonl"))
    still_whole(cli, notes)
    assert cli("add", notes, "more.jsonl").lines[0]["added"] == 1


def test_files_that_may_not_grow(cli: Run, notes: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    write_jsonl(Path("big.jsonl"), *({"id": f"b{i}", "text": f"sand {i}" * 99} for i in range(99)))
    refused(process("add", notes, "big.jsonl", cwd=notes.parent, before=small_files))
    still_whole(cli, notes)


# -- names that are nearly right, and answers that would mislead


def test_a_misspelt_index_is_answered_with_the_right_one(cli: Run, notes: Path) -> None:
    refused(cli("search", "notes.idx", "x"), "did you mean notes.index?")
    for documents in ("notes.jsonl", "."):  # the wrong way round
        right = (
            f"the index comes first, then the documents: `searchlib index new.index {documents}`"
        )
        refused(cli("index", documents, "new.index"), right)
        assert not Path("new.index").exists()
    Path("empty folder").mkdir()
    misspelt = cli("index", "empty folder", "notes.jsnl").error
    assert "notes.jsnl" in misspelt
    assert "comes first" not in misspelt
    Path("my notes.jsonl").touch()
    refused(cli("index", "my notes.jsonl", "i"), "`searchlib index i 'my notes.jsonl'`")
    refused(cli("add", "fresh.index", "notes.jsonl"), "`searchlib index fresh.index SOURCE`")


def test_a_misspelt_field_in_a_filter(cli: Run, notes: Path) -> None:
    result = cli("search", notes, "water", "--where", "not exists title or yeer >= 2001")
    assert (result.code, result.out) == (0, "")
    assert "no document has the field 'yeer'; did you mean 'year'?" in result.error
    fine = cli("search", notes, "water", "--where", "year > 2500")
    assert (fine.code, fine.out, fine.err) == (0, "", "")


def test_a_field_name_that_no_record_has_is_pointed_out(cli: Run, folder: Path) -> None:
    asked = ("--title", "titel", "--metadata", "year,lnag")
    result = cli("index", "n.index", "notes.jsonl", *asked, *WORDS_ONLY)
    assert result.lines[0]["added"] == len(NOTES)
    assert "notes.jsonl:1 has nothing in field 'titel'; is it spelled right?" in result.err
    assert "'lnag'" in result.err
    assert "'year'" not in result.err


def test_an_empty_name_is_not_the_current_folder(cli: Run, notes: Path) -> None:
    refused(cli("add", notes, ""), "no name")
    still_whole(cli, notes)


def test_deleting_names_the_unknown_ids(cli: Run, notes: Path) -> None:
    result = cli("delete", notes, "note-1", "nope")
    assert (result.code, result.lines) == (1, [{"deleted": 1}])
    assert "1 of 2 ids" in result.error
    assert "'nope'" in result.error
    assert "nothing deleted" in cli("delete", notes, "nope").error


def test_a_bad_line_says_how_to_pass_over_it_and_a_wrong_path_does_not(
    cli: Run, folder: Path
) -> None:
    Path("csv.jsonl").write_text("id,text\n1,hello\n")
    refused(cli("index", "n.index", "csv.jsonl", *WORDS_ONLY), "--skip-bad", "CSV")
    assert "--skip-bad" not in refused(cli("index", "n.index", "absent", *WORDS_ONLY))


def test_another_encoding_can_be_named(cli: Run, folder: Path) -> None:
    Path("old.txt").write_bytes("Äpfel und Öl".encode("latin-1"))
    refused(cli("index", "n.index", "old.txt", *WORDS_ONLY), "not UTF-8", "encoding")
    done = cli("index", "n.index", "old.txt", "--encoding", "latin-1", *WORDS_ONLY)
    assert done.code == 0, done.err
    assert cli("search", "n.index", "öl").lines[0]["id"] == "old.txt"


def test_damage_says_what_to_do(cli: Run, notes: Path) -> None:
    next(notes.glob("*.store")).unlink()
    refused(cli("search", notes, "moon"), "missing", "restore a copy, or index again")


# -- measuring


def test_eval_names_a_wrong_retriever_before_it_works(cli: Run, notes: Path) -> None:
    refused(cli("eval", notes, "collection", "-r", "bm25,bm52"), "'bm52'")


def test_eval_against_another_collections_index(cli: Run, notes: Path) -> None:
    write_jsonl(Path("other.jsonl"), {"id": "x", "text": "sand"})
    assert cli("index", "other.index", "other.jsonl", *WORDS_ONLY).code == 0
    refused(cli("eval", "other.index", "collection"), "none of the 3 judged", "another collection")


@pytest.mark.parametrize("id", ["white space", "line\nbreak", "tab\there"])
def test_an_id_that_trec_cannot_carry_leaves_no_half_a_run(cli: Run, notes: Path, id: str) -> None:
    write_jsonl(Path("odd.jsonl"), {"id": id, "title": "", "text": "bread bread bread"})
    assert cli("add", notes, "odd.jsonl").code == 0
    Path("old.run").write_text("kept")
    refused(cli("run", notes, "collection/queries.jsonl", "-r", "bm25", "-o", "old.run"), "TREC")
    assert Path("old.run").read_text() == "kept"
    assert "TREC" in cli("search", notes, "bread", "-k", "1", "--format", "trec").error


@pytest.mark.parametrize("output", ["collection", "absent/a.run"])
def test_a_run_that_cannot_be_written_is_told_first(cli: Run, notes: Path, output: str) -> None:
    refused(cli("run", notes, "no-such-queries", "-o", output), f"cannot write {output}")
    unsuited = cli("run", notes, "collection/queries.jsonl", "-o", "a.run", "--format", "json")
    assert (unsuited.code, Path("a.run").exists()) == (2, False)


# -- odd places to be called from


@pytest.mark.parametrize("command", [("sync", "notes.index", "."), ("distill", "a", "--out", "m")])
def test_a_working_directory_that_is_gone(notes: Path, command: tuple[str, ...]) -> None:
    place = notes.parent / "gone"
    place.mkdir()
    arguments = [str(notes) if word == "notes.index" else word for word in command]
    result = process(*arguments, cwd=place, before=place.rmdir)
    refused(result, "the folder in which this was called is gone")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams(notes: Path, closed: tuple[int, ...]) -> None:
    """No file of the index takes their numbers, so that what is printed would end up there."""

    def close() -> None:
        for number in closed:
            os.close(number)

    (notes.parent / "one.jsonl").write_text('{"id": "one", "text": "closed streams"}\n')
    for arguments in (("add", notes, "one.jsonl"), ("search", notes, "closed"), ("info", "absent")):
        result = process(*arguments, cwd=notes.parent, before=close)
        assert result.code == (arguments[0] == "info")
        assert "Traceback" not in result.err
    checked = process("verify", notes, cwd=notes.parent)
    assert (checked.code, checked.err) == (0, "")


# -- interruptions


def _heed_ctrl_c() -> None:
    # subtle: what a shell starts in the background, CI for one, ignores SIGINT, and so do its heirs
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_keeps_what_was_committed(cli: Run, notes: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", "add", str(notes), "-", "--input-format", "jsonl"]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, cwd=notes.parent, preexec_fn=_heed_ctrl_c,  # noqa: PLW1509
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(b'{"id": "x", "text": "unfinished"}\n')
    child.stdin.flush()
    deadline = time.monotonic() + 60
    while str(child.pid) not in _owner(notes) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert b"what was committed stays" in err
    assert b"Traceback" not in err
    assert out == b""
    still_whole(cli, notes)
    assert cli("add", notes, "more.jsonl").code == 0  # no lock is left behind


def test_ctrl_c_commits_what_is_encoded(cli: Run, notes: Path) -> None:
    from searchlib import Document, Engine
    from searchlib.intake import CHUNK_DOCUMENTS

    def documents() -> Iterator[Document]:
        for number in range(CHUNK_DOCUMENTS + 9):
            yield Document(f"d{number}", "sand")
        raise KeyboardInterrupt

    with Engine.open(notes) as engine, pytest.raises(KeyboardInterrupt):
        engine.add(documents())
    still_whole(cli, notes, documents=len(NOTES) + CHUNK_DOCUMENTS)


def test_what_was_there_already_is_noted_as_such(notes: Path) -> None:
    from searchlib import Document, Engine
    from searchlib.indexing import UNCHANGED

    said: list[tuple[int, str]] = []
    with Engine.open(notes) as engine:
        for _ in range(2):
            said.append((0, "next run"))
            engine.add(
                [Document("d", "sand")],
                on_progress=lambda done, total, note="": said.append((done, note)),
            )
    first, second = said[: said.index((0, "next run"), 1)], said[said.index((0, "next run"), 1) :]
    assert UNCHANGED not in {note for _, note in first}
    assert (1, UNCHANGED) in second


def _owner(index: Path) -> str:
    return "".join(path.read_text() for path in index.glob("*lock*"))


def test_a_second_writer_is_told_who_is_writing(cli: Run, notes: Path) -> None:
    from indexes.writer import Writer

    with Writer.open(notes):
        assert str(os.getpid()) in refused(cli("add", notes, "more.jsonl"))
        still_whole(cli, notes)  # readers go on


def test_a_reader_that_has_had_enough(notes: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    write_jsonl(
        notes.parent / "many.jsonl", *({"id": f"m{i}", "text": "many"} for i in range(3000))
    )
    process("add", notes, "many.jsonl", cwd=notes.parent)
    command = f"{sys.executable} -m cli search {notes} many -k 3000 | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rank"] == 1


# -- our own mistakes


def test_a_bug_is_one_line_unless_debugging(
    cli: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import searchlib.searching

    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(searchlib.searching.Searching, "search", broken)
    result = cli("search", notes, "moon")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("searchlib: this is a bug: ZeroDivisionError: division by zero")
    assert len(result.err.splitlines()) == 1
    from cli.app import main

    # subtle: before and after, or what `--debug` sets would come back when the test ends
    monkeypatch.setenv("SEARCHLIB_DEBUG", "")
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "search", str(notes), "moon"])
    monkeypatch.setenv("SEARCHLIB_DEBUG", "yes")
    with pytest.raises(ZeroDivisionError):
        main(["search", str(notes), "moon"])
    for value in ("0", "false", "no", "OFF", ""):
        monkeypatch.setenv("SEARCHLIB_DEBUG", value)
        assert len(cli("search", notes, "moon").err.splitlines()) == 1
    monkeypatch.setenv("SEARCHLIB_DEBUG", "")
