"""The manifest reads back as written, and anything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.directory import FileDirectory
from indexes.errors import Damaged, NoIndex, UnsupportedFormat
from indexes.manifest import (
    FieldSpec,
    FileEntry,
    Manifest,
    SegmentEntry,
    TermField,
    VectorField,
    read_manifest,
)
from indexes.similarity import BM25, Dot

PATH = Path("some.index/manifest.json")
MANIFEST = Manifest(
    7,
    "2026-01-02T03:04:05+00:00",
    12,
    {
        "bm25": TermField("bm25", "count", "document", BM25(1.2, 0.75), {"stemmer": "porter"}),
        "wide": TermField("wide", "impact", "passage", Dot(idf=1.0), {}),
        "dense": VectorField("dense", 384, "passage", "pq", {"model": "ü"}),
    },
    {"passages": {"size": 200}},
    (SegmentEntry("s000011", 3, 5, 1, {"store": "s000011.store", "bm25": "s000011.bm25"}),),
    {"s000011.store": FileEntry(10, "ab"), "s000011.bm25": FileEntry(0, "cd")},
)


def test_reads_back_as_written() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes(), PATH) == MANIFEST


@given(st.integers(0, len(MANIFEST.to_bytes()) - 1), st.integers(1, 255))
def test_no_byte_changes_unnoticed(place: int, change: int) -> None:
    data = bytearray(MANIFEST.to_bytes())
    data[place] ^= change
    try:
        read = Manifest.from_bytes(bytes(data), PATH)
    except (Damaged, UnsupportedFormat) as error:
        message = str(error)
    else:
        assert read == MANIFEST  # white space
        return
    assert str(PATH) in message
    assert "\n" not in message


@pytest.mark.parametrize("length", [0, 1, 50, len(MANIFEST.to_bytes()) - 3])
def test_cut_short(length: int) -> None:
    with pytest.raises(Damaged, match=r"manifest\.json"):
        Manifest.from_bytes(MANIFEST.to_bytes()[:length], PATH)


@pytest.mark.parametrize("data", [b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_other_content(data: bytes) -> None:
    with pytest.raises(Damaged):
        Manifest.from_bytes(data, PATH)


def test_another_version_is_named() -> None:
    body = json.loads(MANIFEST.to_bytes())
    body["version"] = 3
    with pytest.raises(UnsupportedFormat, match="index format 3, this version reads format 2"):
        Manifest.from_bytes(json.dumps(body).encode(), PATH)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(NoIndex, match="holds no index"):
        read_manifest(FileDirectory(tmp_path))
    with pytest.raises(NoIndex, match="holds no index"):
        read_manifest(FileDirectory(tmp_path / "absent"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(NoIndex, match="is a file"):
        read_manifest(FileDirectory(tmp_path / "file"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TermField("Bad Name", "count", "document", BM25()), "illegal field name"),
        (lambda: TermField("../x", "count", "document", BM25()), "illegal field name"),
        (lambda: TermField("store", "count", "document", BM25()), "illegal field name"),
        (lambda: TermField("a", "float", "document", BM25()), "illegal kind 'float'"),  # type: ignore[arg-type]
        (lambda: TermField("a", "count", "page", BM25()), "illegal unit 'page'"),  # type: ignore[arg-type]
        (lambda: VectorField("a", 0, "passage"), "illegal dim 0"),
        (lambda: VectorField("a", 3, "passage", "tree"), "illegal kind 'tree'"),  # type: ignore[arg-type]
    ],
)
def test_illegal_fields(make: type[FieldSpec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[call-arg]
