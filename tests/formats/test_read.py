"""Reading documents: what a source is, where documents come from, what is said of bad ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
from pathlib import Path

import pytest
import zstandard

from searchlib.errors import BadDocument, BadInput
from searchlib.formats import BadLine, ReadOptions, count_hint, read_documents
from searchlib.formats.read import folder_files
from searchlib.types import Document

LINES = b'{"_id": "a", "title": "Eel", "text": "A long fish."}\n{"_id": "b", "text": "A crab."}\n'
NOT_JSON = "not JSON: Expecting value, at character 1; if it is CSV, text, ... say the format"
DOCUMENTS = [Document("a", "A long fish.", "Eel"), Document("b", "A crab.")]


def read(source: object, **options: object) -> list[Document]:
    return [document for document, _ in read_documents(str(source), ReadOptions(**options))]


def refused(source: object, **options: object) -> str:
    """The one line with which the source is refused."""
    with pytest.raises(BadInput) as caught:
        read(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", zstandard.ZstdCompressor().compress),
    ],
)
@pytest.mark.parametrize("name", ["fish.jsonl", "fish.ndjson", "fish"])
def test_compressed_or_not(write, name, suffix, compress):
    path = write(name + suffix, compress(LINES))
    assert read(path) == DOCUMENTS


def test_the_id_of_a_passage_goes_before_that_of_its_document(write):
    record = {"docid": "D1", "pid": "D1_2", "passage": "Eel", "spans": "(0,3)"}
    path = write("msmarco_v2.jsonl", json.dumps(record))
    assert read(path) == [Document("D1_2", "Eel", "", {"docid": "D1", "spans": "(0,3)"})]
    path = write("passages.jsonl", '{"document_id": "D1", "passage_id": 2, "text": "Eel"}')
    assert read(path) == [Document("2", "Eel", "", {"document_id": "D1"})]


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_a_damaged_compressed_file_is_named(write, compress):
    lines = b"".join(b'{"_id": "%d", "text": "%d"}\n' % (i, i * 7919) for i in range(20_000))
    packed = compress(lines)
    half = len(packed) // 2
    broken = packed[:half] + b"\0\1\2\3" * 20 + packed[half + 80 :]
    path = write("fish.jsonl.packed", broken)
    assert str(path) in refused(path, format="jsonl")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_cut_short_is_named(write, compress):
    path = write("fish.jsonl.packed", compress(LINES * 1000)[:-20])
    assert "cannot be decompressed" in refused(path, format="jsonl")


def test_origins_name_file_and_line(write):
    path = write("fish.jsonl", b"\n" + LINES)
    assert [origin for _, origin in read_documents(path)] == [f"{path}:2", f"{path}:3"]


def test_stdin(monkeypatch):
    def feed(data: bytes) -> None:
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdin", stdin)

    feed(LINES)
    assert read("-") == DOCUMENTS
    feed(gzip.compress(LINES))
    assert read("-") == DOCUMENTS
    feed(b"id,text\na,eel\n")
    assert read("-", format="csv") == [Document("a", "eel")]
    feed(b'{"text": "eel"}\n')
    assert read("-") == [Document("stdin:1", "eel")]
    feed(b"oops\n")
    assert refused("-") == f"stdin:1: {NOT_JSON}"
    feed(b"")
    assert refused("-") == "stdin holds no documents"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_beir_folder(write, suffix):
    pack = gzip.compress if suffix else bytes
    path = write("sea/corpus.jsonl" + suffix, pack(LINES))
    write("sea/queries.jsonl", '{"_id": "q", "text": "What swims?"}\n')
    write("sea/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\ta\t1\n")
    assert read(path.parent) == DOCUMENTS


def test_folder_of_files(write, tmp_path):
    write("sea/b/eel.txt", "An eel.")
    write("sea/a.md", "# Crabs\n\nThey walk sideways.")
    write("sea/c.html", "<title>Squid</title><p>Ten arms.")
    write("sea/d.jsonl", '{"text": "Whale"}\n{"_id": "x", "text": "Seal"}')
    write("sea/.hidden.txt", "no")
    write("sea/.git/config.txt", "no")
    write("sea/photo.jpg", b"\xff\xd8\xff\xe0")
    skipped: list[str] = []
    assert read(tmp_path / "sea", on_skip=skipped.append) == [
        Document("a.md", "# Crabs\n\nThey walk sideways.", "Crabs"),
        Document("b/eel.txt", "An eel.", "eel"),
        Document("c.html", "Ten arms.", "Squid"),
        Document("d.jsonl:1", "Whale"),
        Document("x", "Seal"),
    ]
    assert skipped == [f"{tmp_path / 'sea' / 'photo.jpg'}: of no known kind"]


def test_links_do_not_lead_round_in_a_circle(write, tmp_path):
    write("sea/eel.txt", "An eel.")
    sea = tmp_path / "sea"
    (sea / "again").symlink_to(sea, target_is_directory=True)
    (sea / "gone.txt").symlink_to(sea / "nowhere.txt")
    (sea / "same.txt").symlink_to(sea / "eel.txt")
    os.mkfifo(sea / "pipe.txt")
    skipped: list[str] = []
    documents = read(sea, on_skip=skipped.append)
    assert [document.id for document in documents] == ["eel.txt", "same.txt"]
    told = [
        f"{sea / 'again'}: a link to a folder",
        f"{sea / 'gone.txt'}: a link to what is not there",
    ]
    assert skipped == told
    skipped.clear()
    assert folder_files(sea, ReadOptions(on_skip=skipped.append)) == [
        sea / "eel.txt",
        sea / "same.txt",
    ]
    assert skipped == told


def test_what_is_not_there(write, tmp_path):
    path = write("corpus.jsonl", LINES)
    assert refused(path.with_name("corpus.json")) == (
        f"no such file or folder: {tmp_path}/corpus.json; did you mean {path}?"
    )
    assert "nor is there a folder" in refused(tmp_path / "no" / "corpus.jsonl")
    link = tmp_path / "link.md"
    link.symlink_to("d.md")
    assert refused(link) == f"{link} is a link to what is not there: d.md"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", ""),
        ("a.jsonl", " \n\n"),
        ("a.json", "[]"),
        ("a.csv", ""),
        ("a.csv", "id,text\n"),
        ("a.tsv", ""),
        ("a.trec", ""),
        ("a.jsonl", gzip.compress(b"", mtime=0)),
    ],
)
def test_nothing_in_it(write, name, content):
    path = write(name, content)
    assert refused(path) == f"{path} holds no documents"


def test_folder_with_nothing_to_read(write, tmp_path):
    write("sea/photo.jpg", b"\xff\xd8\xff\xe0")
    assert refused(tmp_path / "sea") == f"{tmp_path / 'sea'} holds no documents"


def unlisted(monkeypatch, name: str) -> None:
    """As if the system refused to list a folder."""
    listed = os.scandir

    def refuse(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_files_of_a_folder_that_cannot_be_read_are_passed_over(write, tmp_path, monkeypatch):
    write("sea/a.csv", "year,name2\n1999,x\n")
    write("sea/b.jsonl.gz", gzip.compress(LINES * 1000)[:-20])
    write("sea/c.csv", "id,text\na,eel\n".encode("utf-16"))
    write("sea/d.parquet", "no")
    write("sea/locked/inside.txt", "not to be seen")
    write("sea/z.txt", "An eel.")
    unlisted(monkeypatch, "locked")
    sea = tmp_path / "sea"
    assert refused(sea).startswith(f"{sea}/a.csv:1: no text among the columns")
    with pytest.raises(BadDocument):  # of which the command line says how to pass over it
        read(sea)
    passed_over: list[object] = []
    documents = read(sea, skip_bad=True, on_bad=passed_over.append)
    assert documents[-1] == Document("z.txt", "An eel.", "z")
    places = [line.partition(": ")[0].removeprefix(f"{sea}/") for line in map(str, passed_over)]
    assert places == ["a.csv:1", "b.jsonl.gz", "c.csv", "d.parquet", f"cannot read {sea}/locked"]
    for name in ("a.csv", "b.jsonl.gz", "c.csv", "d.parquet"):
        (sea / name).unlink()
    assert refused(sea) == f"cannot read {sea}/locked: Permission denied"


def test_a_file_without_permission_is_passed_over(write, tmp_path, monkeypatch):
    write("sea/a.txt", "An eel.")
    write("sea/b.txt", "A crab.")
    original = Path.open

    def refuse(self, *arguments):
        if self.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    told: list[object] = []
    documents = read(tmp_path / "sea", skip_bad=True, on_bad=told.append)
    assert [document.id for document in documents] == ["b.txt"]
    assert [str(error) for error in told] == [
        f"cannot read {tmp_path}/sea/a.txt: Permission denied"
    ]


ORDINARY = {
    "pyproject.toml": '[project]\nname = "sea"\n',
    "setup.ini": "[sea]\nfish = eel\n",
    "server.log": "[2024-01-01 10:00] began\n",
    "code.js": "{\n  let x = 1;\n}\n",
    "page.jinja": "{% extends 'base' %}\n",
    "style.map": '{"version": 3, "sources": []}\n',
    "names": '["eel", "crab"]',
}


def test_of_a_folder_only_what_is_sure_to_be_json_is_read_without_an_ending(write, tmp_path):
    for name, content in ORDINARY.items():
        write(f"sea/{name}", content)
    write("sea/lines", LINES)
    skipped: list[str] = []
    assert read(tmp_path / "sea", on_skip=skipped.append) == DOCUMENTS
    assert skipped == [f"{tmp_path}/sea/{name}: of no known kind" for name in sorted(ORDINARY)]
    assert read(write("one", '[{"id": "a", "text": "x"}]')) == [Document("a", "x")]  # was named


def test_unknown_kinds_and_names(write):
    path = write("photo.jpg", b"\xff\xd8\xff\xe0")
    assert "what kind of file is it? give the format: jsonl, json, csv" in refused(path)
    assert refused(path, format="word").startswith("unknown format 'word'; allowed: jsonl")
    with pytest.raises(BadInput, match="unknown encoding 'utf-9'"):
        ReadOptions(encoding="utf-9")


def test_a_name_that_is_no_text(write, tmp_path):
    (tmp_path / "sea").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "sea") + b"/caf\xe9.txt")).write_text("Eel")
    (document,) = read(tmp_path / "sea")
    assert document.id == "caf\ufffd.txt"
    document.title.encode()


def test_reading_that_fails_half_way_is_one_line(write, monkeypatch):
    def fail(source, options):
        yield Document("a", "x"), "a"
        raise OSError(5, "Input/output error")

    from searchlib.formats import read as module

    path = write("a.jsonl", LINES)
    monkeypatch.setitem(module.READERS, "jsonl", fail)
    assert refused(path) == f"cannot read {path}: Input/output error"


def test_closed_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert refused("-") == "stdin is closed"


def test_no_permission(write, monkeypatch):
    path = write("a.jsonl", LINES)
    if os.geteuid() == 0:  # who may read everything

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    path.chmod(0)
    assert refused(path) == f"cannot read {path}: Permission denied"


BAD = [
    (b"oops", NOT_JSON),
    (b'{"_id": "a", "text": "cut', "not JSON: Unterminated string starting at, at character 22"),
    (b"[1]", "not a JSON object: '[1]'"),
    (b'{"_id": "a"}', "no text among the fields: '_id'; say which is (--text)"),
    (b'{"_id": "a", "title": "t", "lang": "en"}', "no text among the fields: '_id', 'title', "),
    (b'{"_id": [1], "text": ""}', "the id is a list, must be a string or a number"),
    (b'{"_id": true, "text": ""}', "the id is true or false, must be a string or a number"),
    (b'{"_id": "a", "text": {}}', "'text' is an object, must be a string"),
    (b'{"_id": "a", "text": "x", "y": NaN}', "not JSON: NaN is no number in JSON"),
    (
        b'{"_id": "a", "text": "caf\xe9"}',
        "not UTF-8: byte 0xe9 at byte 26; convert it, or name its encoding",
    ),
    (b"[" * 100_000, "not read: nested too deeply"),
    (b'{"_id": "a", "text": "x", "y": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason[:30] for _, reason in BAD])
def test_bad_lines_stop_the_reading_or_are_passed_over(write, line, reason):
    path = write("corpus.jsonl", LINES + line + b"\n" + b'{"_id": "c", "text": "Squid"}\n')
    message = refused(path)
    assert message.startswith(f"{path}:3: {reason}")
    assert len(message) < len(str(path)) + 150
    passed_over: list[BadLine] = []
    documents = read(path, skip_bad=True, on_bad=passed_over.append)
    assert [document.id for document in documents] == ["a", "b", "c"]
    assert [str(bad) for bad in passed_over] == [message]


def test_documents_before_a_bad_line_are_given_first(write):
    path = write("corpus.jsonl", LINES + b"oops\n")
    documents = read_documents(path)
    assert [next(documents)[0], next(documents)[0]] == DOCUMENTS
    with pytest.raises(BadInput):
        next(documents)


def test_all_lines_bad(write):
    path = write("corpus.jsonl", b"oops\noops\n")
    assert refused(path, skip_bad=True) == (
        f"{path} holds no documents that can be read (2 cannot)"
    )


def test_long_lines(write):
    line = b'{"_id": "long", "text": "' + b"x" * 5_000_000 + b'"}\n'
    path = write("corpus.jsonl", LINES + line + b'{"_id": "c", "text": "Squid"}')
    assert len(read(path)[2].text) == 5_000_000
    assert refused(path, max_document_bytes=1_000_000) == f"{path}:3: longer than 1,000,000 bytes"
    documents = read(path, max_document_bytes=1_000_000, skip_bad=True)
    assert [document.id for document in documents] == ["a", "b", "c"]


def test_line_exactly_as_long_as_allowed(write):
    first = LINES.splitlines()[0]
    path = write("corpus.jsonl", LINES)
    assert read(path, max_document_bytes=len(first) + 1) == DOCUMENTS
    path = write("corpus.jsonl", first)
    assert read(path, max_document_bytes=len(first)) == DOCUMENTS[:1]
    assert "longer than" in refused(path, max_document_bytes=len(first) - 1)


def test_marks_line_ends_nul_and_halves_of_pairs(write):
    path = write(
        "a.jsonl",
        b'\xef\xbb\xbf{"_id": "a\0", "text": "one\\u0000two \\ud800 \\ud83d\\ude00"}\r\n'
        b'{"_id": "b", "text": "", "tags": ["\\udfff"]}\r\n',
    )
    assert read(path) == [
        Document("a", "onetwo \ufffd 😀"),
        Document("b", "", metadata={"tags": ["\ufffd"]}),
    ]
    for document in read(path):
        json.dumps(document.metadata).encode()
        document.text.encode()


def test_other_encodings(write):
    path = write("a.jsonl", '{"_id": "a", "text": "café"}'.encode("latin-1"))
    assert read(path, encoding="latin-1")[0].text == "café"
    for name, text in (("c.jsonl", '{"_id": "a", "text": "café"}'), ("c.txt", "café"),
                       ("c.csv", "id,text\na,café\n")):  # fmt: skip
        path = write(name, text.encode("utf-8-sig"))
        assert read(path, encoding="cp1252")[0].text == "café"
    path = write("b.jsonl", LINES.decode().encode("utf-16"))
    assert (
        refused(path)
        == f"{path}: UTF-16 text, which is not read, --encoding or not; convert it to UTF-8"
    )


@pytest.mark.parametrize(
    ("record", "document"),
    [
        ({"id": 7, "body": "x"}, Document("7", "x")),
        ({"DocNo": "d/é 🦀", "Headline": "h", "Content": "x"}, Document("d/é 🦀", "x", "h")),
        ({"key": 1.5, "text": "x", "year": 2001}, Document("1.5", "x", metadata={"year": 2001})),
        ({"_id": "a", "text": "x", "metadata": {"y": 1}}, Document("a", "x", metadata={"y": 1})),
        ({"_id": "a", "text": ["x", "y"], "title": None}, Document("a", "x\ny")),
        ({"_id": "a", "title": "only a title"}, Document("a", "", "only a title")),
        ({"_id": "a", "title": "", "text": ""}, Document("a", "")),
        ({"_id": "", "text": "x"}, Document("a.jsonl:1", "x")),
        ({"_id": None, "text": "x"}, Document("a.jsonl:1", "x")),
        ({"text": "x", "abstract": "y"}, Document("a.jsonl:1", "x", metadata={"abstract": "y"})),
        ({"_id": "a", "id": "b", "text": "x"}, Document("a", "x", metadata={"id": "b"})),
    ],
)
def test_fields_are_guessed_by_their_names(write, record, document):
    assert read(write("a.jsonl", json.dumps(record))) == [document]


def test_fields_are_what_the_options_say(write):
    record = {"nr": "n1", "id": "i", "name": "N", "head": "H", "text": "T", "more": "M", "y": 1}
    path = write("a.jsonl", json.dumps(record))
    (document,) = read(path, id="nr", title="head", text=("text", "more"), metadata=("y", "name"))
    assert document == Document("n1", "T\nM", "H", {"y": 1, "name": "N"})
    (document,) = read(path, metadata=())
    assert document == Document("i", "T", "N")
    (document,) = read(path, text=("name",), metadata=())
    assert document == Document("i", "N")
    assert "no field 'pid' for the id; there is: 'nr', 'id'" in refused(path, id="pid")
    assert "no field 'bdy' for the text; there is: 'nr', 'id'" in refused(path, text=("bdy",))


def test_json_list_and_json_lines_in_a_json_file(write):
    records = [{"_id": "a", "text": "x"}, {"_id": "b", "text": "y"}, 3]
    path = write("a.json", json.dumps(records, indent=1))
    assert refused(path) == f"{path}:3: not a JSON object: '3'"
    assert [document.id for document in read(path, skip_bad=True)] == ["a", "b"]
    assert read(write("b.json", LINES)) == DOCUMENTS
    assert read(write("c.json", json.dumps(records[0], indent=1))) == [Document("a", "x")]
    assert "not JSON" in refused(write("d.json", "[1, 2"))


def test_count_hint(write, tmp_path):
    path = write("sea/corpus.jsonl", LINES * 50)
    assert count_hint(path) == 100
    assert count_hint(path.parent) == 100
    assert count_hint(write("a.jsonl.gz", gzip.compress(LINES))) is None
    assert count_hint("-") is None
    assert count_hint(tmp_path / "nothing") is None
    write("files/a.txt", "x")
    write("files/b.md", "x")
    assert count_hint(tmp_path / "files") == 2


def test_reading_holds_little_of_the_file(write):
    import tracemalloc

    path = write("corpus.jsonl", b'{"_id": "a", "text": "%s"}\n' % (b"x" * 1000) * 30_000)
    tracemalloc.start()
    assert sum(1 for _ in read_documents(path)) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_an_index_within_the_folder_is_not_read(write, tmp_path):
    write("notes.txt", b"hello")
    folder = tmp_path / "notes.index"
    folder.mkdir()
    (folder / "manifest.json").write_text('{\n "format": "searchlib index"}')
    other = tmp_path / "site"
    other.mkdir()
    (other / "manifest.json").write_text('{"id": "m", "text": "a page"}')
    assert [document.id for document, _ in read_documents(tmp_path)] == ["notes.txt", "m"]


@pytest.mark.parametrize("name", ["", " "])
def test_a_source_without_a_name(name):
    with pytest.raises(BadInput, match="no name"):
        next(read_documents(name))


def test_csv_called_json_is_pointed_out(write):
    with pytest.raises(BadDocument, match="if it is CSV"):
        next(read_documents(write("a.jsonl", b"id,text\n")))
    with pytest.raises(BadDocument) as error:
        next(read_documents(write("b.jsonl", b"{nonsense\n")))
    assert "CSV" not in str(error.value)


def test_a_beir_folder_in_parts(write, tmp_path):
    for name, id in (("corpus/part-0", "d1"), ("corpus/part-1", "d2"), ("queries/all", "q1")):
        path = tmp_path / "parts" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"_id": "{id}", "text": "a fox"}}\n')
    folder = tmp_path / "parts"
    for options in (ReadOptions(), ReadOptions(format="jsonl")):
        assert [document.id for document, _ in read_documents(folder, options)] == ["d1", "d2"]
    assert [path.name for path in folder_files(folder)] == ["part-0.jsonl", "part-1.jsonl"]
    assert count_hint(folder) == 2


def test_an_index_is_no_source(tmp_path):
    from searchlib import Engine, Settings

    Engine.create(tmp_path / "i", Settings(sparse_model=None, dense_model=None)).close()
    with pytest.raises(BadInput, match="is an index, not documents"):
        list(read_documents(tmp_path / "i"))
