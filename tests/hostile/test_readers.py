"""Document readers given what is no such document: documents, or one line of our own errors."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path

import pytest
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given
from hypothesis import strategies as st

from searchlib.formats import ReadOptions, read_documents
from searchlib.formats.read import READERS, count_hint
from searchlib.types import Document

RECORDS = [
    {
        "id": "a",
        "title": "Salt",
        "text": "Salt \u96e8 melts ice.",
        "year": 1999,
        "tags": ["x", "y"],
    },
    {"id": "b", "title": "", "text": "Second \ud83d\ude00 one.", "deep": {"a": [1, None, 2.5]}},
]


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    table = pyarrow.table({"id": ["a", "b"], "text": ["Salt melts", "x"], "n": [1, None]})
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def pdf() -> bytes:
    """One page with a line of text, made by hand, as pypdf writes no text."""
    text = b"BT /F1 12 Tf 20 20 Td (Salt melts ice) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return data + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1,
        start,
    )


JSONL = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
CSV = b'id,title,text,year\na,Salt,"Salt, ""melts""\nice",1999\nb,,Second,true\n'
TREC = b"<DOC>\n<DOCNO> a </DOCNO>\n<TITLE>Salt</TITLE><TEXT>Salt &lt; ice</TEXT>\n</DOC>\n" * 2
GOOD = {
    "jsonl": [JSONL, gzip.compress(JSONL), bz2.compress(JSONL), lzma.compress(JSONL)],
    "json": [json.dumps(RECORDS).encode()],
    "csv": [CSV, CSV.replace(b",", b";")],
    "tsv": [b"id\ttitle\ttext\na\tSalt\tSalt melts\n", b"1\tSalt melts\n2\tSecond\n"],
    "msmarco": [b"1\tSalt melts\n2\tSecond\n", b"1\thttp://x\tSalt\tSalt melts\n"],
    "parquet": [parquet()],
    "trec": [TREC],
    "text": [b"Salt melts ice.\n", "Schm\u00f6lze".encode("latin-1")],
    "markdown": [b"---\ntitle: Salt\n---\n# Salt\n\n```\n# no\n```\n", b"Salt\n====\nmelts\n"],
    "html": [b"<html><head><title>Salt</title></head><body><p>Salt <b>melts</b></p></body>"],
    "pdf": [pdf()],
    "notebook": [json.dumps({"cells": [{"cell_type": "code", "source": ["salt"]}]}).encode()],
}


def read_all(path: Path, options: ReadOptions) -> list[Document]:
    """All documents of a file, checked; an error of ours is an answer, too."""
    found: list[Document] = []
    with time_limit():
        hint = count_hint(path, options)
        assert hint is None or hint >= 0
        try:
            for document, origin in read_documents(path, options):
                assert path.name in origin
                found.append(document)
        except OURS as error:
            one_line(error)
    for document in found:
        assert document.id.strip()
        assert isinstance(document.text, str)
        assert isinstance(document.title, str)
        assert "\0" not in document.text
        json.dumps(document.metadata)
    return found


def test_every_reader_is_tried() -> None:
    assert GOOD.keys() == READERS.keys()


@pytest.mark.parametrize("format", GOOD)
def test_the_good_ones_are_read(tmp_path: Path, format: str) -> None:
    for number, data in enumerate(GOOD[format]):
        path = tmp_path / f"{number}.x"
        path.write_bytes(data)
        encoding = "latin-1" if format == "text" else "utf-8"
        assert read_all(path, ReadOptions(format=format, encoding=encoding))


@pytest.mark.parametrize("format", GOOD)
def test_spoiled_files(tmp_path_factory: pytest.TempPathFactory, format: str) -> None:
    path = tmp_path_factory.mktemp("spoiled") / "file"

    @fuzz(60)
    @given(spoiled(GOOD[format]), st.booleans(), st.sampled_from([1 << 20, 40]))
    def run(data: bytes, skip: bool, limit: int) -> None:
        path.write_bytes(data)
        read_all(path, ReadOptions(format=format, skip_bad=skip, max_document_bytes=limit))

    run()


def test_files_of_any_kind(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kind is guessed by the name, or by the first bytes, and may be wrong."""
    folder = tmp_path_factory.mktemp("any")
    names = ["x", "x.json", "x.csv.gz", "x.parquet", "x.txt", "x.pdf", "x.html", "x.md.zst"]

    @fuzz(150)
    @given(spoiled([data for goods in GOOD.values() for data in goods]), st.sampled_from(names))
    def run(data: bytes, name: str) -> None:
        path = folder / name
        path.write_bytes(data)
        read_all(path, ReadOptions(skip_bad=True))
        path.unlink()

    run()


@pytest.mark.parametrize(
    "options",
    [{"id": "id"}, {"text": ("title", "year")}, {"metadata": ("deep", "tags")}, {"title": "year"}],
    ids=str,
)
def test_records_with_odd_values(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "odd.jsonl"
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=8,
    )
    names = st.sampled_from(["id", "title", "text", "year", "deep", "tags", "metadata", "_id", ""])

    @fuzz(100)
    @given(st.lists(st.dictionaries(names, values) | values, max_size=3))
    def run(records: list[object]) -> None:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        read_all(path, ReadOptions(skip_bad=True, **options))  # type: ignore[arg-type]

    run()
