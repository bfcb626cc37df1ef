"""The buffer writes what was added, whether fields share rows or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.arrays import map_arrays
from indexes.buffer import Buffer
from indexes.directory import FileDirectory
from indexes.manifest import TermField
from indexes.postings import Postings
from indexes.segment import SegmentFiles
from indexes.similarity import BM25
from indexes.store import Store
from indexes.types import Record, TermVectors

SPECS = {
    "words": TermField("words", "count", "document", BM25()),
    "pieces": TermField("pieces", "count", "passage", BM25()),
    "impacts": TermField("impacts", "impact", "passage", BM25()),
}


def postings(path: Path) -> Postings:
    return Postings(map_arrays(path), path.name)


def counts(*rows: str) -> TermVectors:
    return TermVectors.of([{word: float(row.count(word)) for word in row} for row in rows])


def written(folder: Path, batches: list[list[str]], shared: list[bool], dead: set[str]) -> Path:
    """A segment of the texts of all batches; where `shared`, two fields have the same rows."""
    buffer = Buffer(SPECS)
    for number, (batch, is_shared) in enumerate(zip(batches, shared, strict=True)):
        records = [
            Record(f"{number}.{i}", "", text, {}, b"", ((0, len(text)),))
            for i, text in enumerate(batch)
        ]
        rows = counts(*batch)
        again = rows if is_shared else counts(*batch)
        buffer.add(records, {"words": rows, "pieces": again, "impacts": rows})
    for id in dead:
        buffer.delete(id)
    folder.mkdir()
    buffer.write(SegmentFiles(FileDirectory(folder), "s"))
    return folder


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text("abc", max_size=4), min_size=1, max_size=4), min_size=1, max_size=4),
    st.data(),
)
def test_shared_rows_are_written_as_others_are(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("buffer")
    shared = [data.draw(st.booleans()) for _ in batches]
    ids = [f"{n}.{i}" for n, batch in enumerate(batches) for i in range(len(batch))]
    dead = data.draw(st.sets(st.sampled_from(ids), max_size=len(ids) - 1))
    one = written(folder / "one", batches, shared, dead)
    other = written(folder / "other", batches, [False] * len(batches), dead)
    assert {file.name for file in one.iterdir()} == {file.name for file in other.iterdir()}
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()
    assert postings(one / "s.words").n_rows == len(ids) - len(dead)
    assert postings(one / "s.impacts").n_rows == len(ids) - len(dead)
    assert Store(one / "s.store", len(ids) - len(dead)).all_ids() == [
        id for id in ids if id not in dead
    ]


def test_fields_of_two_kinds_are_never_taken_for_one(tmp_path: Path) -> None:
    folder = written(tmp_path / "s", [["ab", "b"]], [True], set())
    assert postings(folder / "s.words").kind == "count"
    assert postings(folder / "s.impacts").kind == "impact"
    assert not (folder / "s.pieces").exists()
