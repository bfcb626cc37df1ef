"""Small files that unpack to gigabytes, lines and nesting without end: limits, little memory.

Each is read by a process of its own that may not take more than a gigabyte of address space.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOM = 1 << 30  # bytes of address space, the interpreter and its libraries included
READ = """
import sys
from searchlib import SearchlibError
from searchlib.formats import ReadOptions, read_documents
from searchlib.formats.read import count_hint
options = ReadOptions(format=sys.argv[2] or None, max_document_bytes=1 << 20)
try:
    count_hint(sys.argv[1], options)
    print(sum(1 for _ in read_documents(sys.argv[1], options)), "documents")
except SearchlibError as error:
    print(error)
"""


def said_of(path: Path, format: str = "") -> str:
    """What comes of reading a file within ROOM: a count, or one line of an error of ours."""
    done = subprocess.run(
        [sys.executable, "-c", READ, path, format],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    return done.stdout


def gzipped(blocks: Iterator[bytes]) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        for block in blocks:
            packed.write(block)
    return file.getvalue()


def zeros(megabytes: int) -> Iterator[bytes]:
    return (b"0" * (1 << 20) for _ in range(megabytes))


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A megabyte of gzip that is 1,100 megabytes of zeros."""
    path = tmp_path_factory.mktemp("bombs") / "bomb.gz"
    path.write_bytes(gzipped(zeros(1100)))
    return path


@pytest.mark.parametrize("format", ["jsonl", "json", "html", "pdf"])
def test_a_gigabyte_in_a_megabyte(bomb: Path, format: str) -> None:
    assert "longer than 1,048,576 bytes" in said_of(bomb, format)


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress], ids=["bz2", "xz"])
def test_other_packings(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(compress(b"0" * (50 << 20)))
    assert "longer than 1,048,576 bytes" in said_of(path, "jsonl")


def test_zstd(tmp_path: Path) -> None:
    import zstandard

    path = tmp_path / "bomb.zst"
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        for block in zeros(300):
            packed.write(block)
    assert "longer than 1,048,576 bytes" in said_of(path, "jsonl")
    # a window of 2 GiB, which the reader would have to hold
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00")
    assert "cannot be decompressed" in said_of(path, "jsonl")


def test_a_line_of_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # a hole: nothing on the disk
    assert "longer than 1,048,576 bytes" in said_of(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("deep.jsonl", b"[" * 900_000 + b"\n"),
        ("deep.json", b'{"a":' * 150_000),
        ("deep.html", b"<div>" * 200_000),
        ("deep.trec", b"<DOC><DOCNO>a</DOCNO>" + b"<x>" * 300_000 + b"\n</DOC>\n"),
        ("wide.csv", b"," * 1_000_000 + b"\n" + b"," * 1_000_000 + b"\n"),
        ("wide.csv", b"text" + b",a" * 500_000 + b"\nx" + b",1" * 500_000 + b"\n"),
        ("wide.tsv", b"text" + b"\ta" * 500_000 + b"\n"),
        ("wide.jsonl", json.dumps({f"k{n}": n for n in range(60_000)}).encode() + b"\n"),
        ("quote.csv", b'id,text\na,"' + b"x\n" * 500_000),
        ("entities.html", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>" + b"<!ENTITY b '&a;&a;'>" * 999
         + b"]><p>&b;" * 9999),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_deep_and_wide(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert said_of(path)


def test_parquet_that_lies_about_its_sizes(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a" * 50] * 40}), path)
    good = path.read_bytes()
    for place in range(len(good) - 8, 40, -97):  # the footer says the sizes
        path.write_bytes(good[:place] + b"\xff\xff\xff\xff\x07" + good[place + 5 :])
        assert said_of_here(path)


def said_of_here(path: Path) -> str:
    from searchlib import SearchlibError
    from searchlib.formats import read_documents

    try:
        return f"{sum(1 for _ in read_documents(path))} documents"
    except SearchlibError as error:
        return str(error)


def test_a_pdf_bomb(tmp_path: Path) -> None:
    """A page whose content unpacks to 300 MB of spaces."""
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(300)) + packer.flush()
    path = tmp_path / "bomb.pdf"
    path.write_bytes(
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>> endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>> endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>> endobj\n"
        b"4 0 obj<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream endobj\n"
        b"trailer<</Root 1 0 R>>\n%%%%EOF" % (len(stream), stream)
    )
    assert path.stat().st_size < 1 << 20
    assert "not readable as PDF" in said_of(path) or "without text" in said_of(path)
