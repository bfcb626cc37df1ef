"""Metadata changed, and documents deleted by filter, as the engine's users do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.errors import BadFilter
from searchlib import Document, Engine, Settings
from searchlib.errors import BadInput
from searchlib.updating import patched

CORPUS = [
    Document("a", "the old boat", "Boat", {"year": 1990, "draft": True, "by": {"name": "Ann"}}),
    Document("b", "the new boat", "Boat", {"year": 2005, "tags": ["x", "y"]}),
    Document("c", "a river", metadata={"year": 2010}),
]


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Engine]:
    with Engine.create(tmp_path / "i", Settings(dense_model=None, sparse_model=None)) as engine:
        engine.add(CORPUS)
        yield engine


def metadata(engine: Engine) -> dict[str, Any]:
    ids = list(engine.snapshot.all_ids())
    return {r.id: r.metadata for r in engine.snapshot.records(engine.snapshot.lookup(ids))}


def test_keys_are_set_and_removed(words: Engine) -> None:
    before = dict(words.rank(["boat"], 9)[0])
    report = words.update(
        [
            ("a", {"year": 2020, "draft": None, "by": {"city": "Bonn"}}),
            ("b", {"year": 2005}),
            ("nobody", {"year": 1}),
        ]
    )
    assert (report.updated, report.unchanged, report.missing) == (1, 1, ("nobody",))
    assert metadata(words) == {
        "a": {"year": 2020, "by": {"name": "Ann", "city": "Bonn"}},
        "b": CORPUS[1].metadata,
        "c": CORPUS[2].metadata,
    }
    assert dict(words.rank(["boat"], 9)[0]) == before
    [hit] = words.search("boat", where="year = 2020")
    assert (hit.id, hit.metadata["year"]) == ("a", 2020)
    assert words.search("boat", where="draft = true") == []


def test_ids_that_are_no_unicode_are_missing(words: Engine) -> None:
    report = words.update({"a\ud800": {"x": 1}, "b": {"x": 1}, "\udcff": {}})
    assert (report.updated, report.missing) == (1, ("a\ud800", "\udcff"))
    with pytest.raises(BadInput, match="is given twice"):
        words.update([("a\ud800", {}), ("a\ud800", {})])


def test_all_metadata_are_replaced(words: Engine) -> None:
    assert words.replace_metadata([("a", {"n": 1}), ("c", {})]).updated == 2
    assert metadata(words) == {"a": {"n": 1}, "b": CORPUS[1].metadata, "c": {}}


def test_nothing_is_encoded_and_nothing_unchanged_is_written(
    words: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from searchlib.encoders.analyzer import Analyzer

    monkeypatch.setattr(Analyzer, "encode_document", None)
    words.update([("a", {"year": 1})])
    generation = words.snapshot.generation
    assert words.update([("a", {"year": 1})]).unchanged == 1
    assert words.update([]).updated == 0
    assert words.snapshot.generation == generation


def test_adding_the_same_document_again_does_the_right_thing(words: Engine) -> None:
    """The content hash follows the metadata: what is there now is unchanged, the former is not."""
    words.update([("c", {"year": 2011})])
    now = Document("c", "a river", metadata={"year": 2011})
    assert words.add([now]).unchanged == 1
    report = words.add([CORPUS[2]])
    assert (report.updated, report.unchanged) == (1, 0)
    assert metadata(words)["c"] == {"year": 2010}
    assert words.verify() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("b", {"x": 1}), ("a", {"x": float("nan")})],
            "the metadata of 'a' cannot be kept: must be JSON",
        ),
        (
            [("b", {"x": 1}), ("a", {"x": {1, 2}})],
            "the metadata of 'a' cannot be kept: must be JSON",
        ),
        ([("b", {"x": 1}), ("a", {}), ("b", {"x": 2})], "id 'b' is given twice"),
    ],
)
def test_all_or_nothing(words: Engine, changes: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        words.update(changes)
    words.refresh()
    assert metadata(words) == {d.id: d.metadata for d in CORPUS}
    assert words.update([("a", {"x": 1})]).updated == 1  # no lock is left


def test_many_chunks(words: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from searchlib import updating

    monkeypatch.setattr(updating, "CHUNK", 2)
    assert words.update((d.id, {"n": i}) for i, d in enumerate(CORPUS)).updated == 3
    assert {id: m["n"] for id, m in metadata(words).items()} == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(BadInput, match="'a' is given twice"):
        words.update([("a", {}), ("b", {}), ("c", {}), ("a", {})])


def test_delete_by_filter(words: Engine) -> None:
    assert words.ids_where("year >= 2005") == ["b", "c"]
    assert words.delete_where("year > 3000") == 0
    assert words.delete_where("year >= 2005 and exists tags") == 1
    assert list(metadata(words)) == ["a", "c"]
    for bad in ("", " ", "year"):
        with pytest.raises(BadFilter):
            words.delete_where(bad)
    words.update([("c", {"year": 1})])
    assert words.delete_where("year < 2000") == 2
    assert words.snapshot.n_documents == 0
    assert words.ids_where("year < 2000") == []


JSON = st.recursive(
    st.none() | st.integers(0, 2) | st.just("x"),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    target = dict(target)
    for name, value in patch.items():
        if value is None:
            if name in target:
                del target[name]
        else:
            target[name] = merge_patch(target.get(name), value)
    return target


@given(
    st.dictionaries(st.sampled_from("abc"), JSON, max_size=3),
    st.dictionaries(st.sampled_from("abc"), JSON, max_size=3),
)
def test_a_merge_patch_is_what_the_rfc_says(target: Any, patch: Any) -> None:
    before = str(target)
    assert patched(target, patch) == merge_patch(target, patch)
    assert str(target) == before
