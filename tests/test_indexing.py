"""The pipeline: hashes, repeated ids, and which complaint comes first."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchlib import intake
from searchlib.errors import BadDocument
from searchlib.intake import SeenIds, content_hash
from searchlib.types import Document

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.text(), st.text(), st.dictionaries(st.text(), VALUES, max_size=3))
def test_a_hash_is_that_of_the_content_as_json(title, text, metadata):
    """Never changes: another hash makes every index encode all its documents anew."""
    content = json.dumps([title, text, metadata], sort_keys=True)
    expected = hashlib.blake2b(content.encode(), digest_size=16).digest()
    assert content_hash(Document("a", text, title, metadata)) == expected


def test_metadata_that_is_no_json_is_refused():
    for metadata in ({"x": float("nan")}, {"x": {1}}, {"x": float("inf")}):
        with pytest.raises((ValueError, TypeError)):
            content_hash(Document("a", "", "", metadata))


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5), max_size=5))
def test_repeated_ids_are_found_with_the_place_of_the_first(batches):
    seen, first, number = SeenIds(), {}, 0
    for batch in batches:
        met = []
        expected = {}
        for place, id in enumerate(batch):
            origin = f"f:{number % 3}"  # origins need not differ
            number += 1
            met.append((id, origin))
            if id in first:
                expected[place] = first[id]
            first.setdefault(id, origin)
        assert seen.repeated(met) == expected
    seen.close()


GIVEN = [
    (Document("a", "1"), "f:1"),
    (Document("", "2"), "f:2"),
    (Document("a", "3"), "f:3"),
    (Document("b", "4", metadata={"x": float("nan")}), "f:4"),
    (Document("b", "5"), "f:5"),
    (Document("\ud800", "6"), "f:6"),
]


@pytest.mark.parametrize("size", [1, 2, 1024])
def test_complaints_come_in_the_order_of_the_documents(monkeypatch, size):
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", size)
    told: list[str] = []
    chunks = list(intake.checked(iter(GIVEN), True, told.append))
    assert [document.text for chunk, _ in chunks for document, _ in chunk] == ["1", "5"]
    assert sum(skipped for _, skipped in chunks) == 4
    assert [line.split(":")[1] for line in told] == ["2", "3", "4", "6"]
    assert "'a' was already given at f:1" in told[1]
    with pytest.raises(BadDocument, match="f:2: empty document id"):
        list(intake.checked(iter(GIVEN), False, told.append))
