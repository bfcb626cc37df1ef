"""Errors: whatever a user can cause has one base, and is found in one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexes.errors
from searchlib import Document, Engine, SearchlibError, Settings, errors


def test_every_error_has_one_base_and_is_in_one_module() -> None:
    below = {name for name, of in vars(indexes.errors).items() if isinstance(of, type)}
    assert below <= set(errors.__all__)
    for name in errors.__all__:
        found = getattr(errors, name)
        if isinstance(found, type):
            assert issubclass(found, SearchlibError)


def test_a_server_catches_what_its_users_cause(tmp_path: Path) -> None:
    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add([Document("a", "a boat")])
        with pytest.raises(SearchlibError):
            engine.search("boat", where="year >")
        with pytest.raises(SearchlibError):
            Engine.create(tmp_path / "i", settings)
    with pytest.raises(SearchlibError):
        engine.search("boat")
    with pytest.raises(SearchlibError):
        Engine.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    "wrong",
    [
        {"passage_tokens": 64.5},
        {"overlap": 2.5},
        {"max_passages": 1.5},
        {"max_passages": True},
        {"dense_weight": True},
        {"dense_weight": float("inf")},
        {"k1": float("inf")},
        {"k1": float("nan")},
        {"b": "0.4"},
        {"smoothing": None},
    ],
)
def test_settings_that_make_no_sense_leave_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.BadQuery, match=next(iter(wrong))):
        Engine.create(tmp_path / "i", Settings(**wrong))
    assert not (tmp_path / "i").exists()


def test_pages_of_no_hits_are_refused(tmp_path: Path) -> None:
    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(Document(str(i), "a boat") for i in range(5))
        for query in ("boat", None):
            for k in (0, -1, 1.5):
                with pytest.raises(errors.BadQuery, match=f"illegal k: {k}"):
                    engine.page(query, k)  # type: ignore[arg-type]
            page = engine.page(query, np.int64(3))  # type: ignore[arg-type]
            assert len(engine.page(query, 3, cursor=page.cursor).hits) == 2


def test_metadata_nested_too_deep_are_the_documents_fault(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    documents = [Document("a", "x"), Document("d", "x", metadata={"v": deep}), Document("b", "x")]
    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        with pytest.raises(errors.BadDocument, match="100 levels"):
            engine.add(documents)
        told: list[str] = []
        report = engine.add(documents, skip_bad=True, on_bad=told.append)
        assert (report.added, report.skipped, len(told)) == (2, 1, 1)
        with pytest.raises(errors.BadInput, match="100 levels"):
            engine.update([("a", {"v": deep})])


def test_what_was_done_before_a_bad_document_stays(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        for i in range(3000):
            yield Document(str(i), "a boat")
        raise OSError("the line is dead")

    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        with pytest.raises(OSError, match="the line is dead"):
            engine.add(documents())
        kept = engine.info()["documents"]
        assert 0 < kept <= 3000
        report = engine.add(Document(str(i), "a boat") for i in range(3000))
        assert (report.added, report.unchanged) == (3000 - kept, kept)


def test_wrong_types_are_said_in_one_line(tmp_path: Path) -> None:
    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add([Document("a", "a boat")])
        wrong: list[Callable[[], object]] = [
            lambda: engine.search("boat", unit="doc"),  # type: ignore[arg-type]
            lambda: engine.search("boat", offset=1.5),  # type: ignore[arg-type]
            lambda: engine.search("boat", offset=None),  # type: ignore[arg-type]
            lambda: engine.search("boat", where={"year": 1}),  # type: ignore[arg-type]
            lambda: engine.rank([None]),  # type: ignore[list-item]
            lambda: engine.rank(["boat"], unit="doc"),  # type: ignore[arg-type]
            lambda: engine.explain("boat", 3),  # type: ignore[arg-type]
            lambda: engine.update([(5, {})]),  # type: ignore[list-item]
            lambda: engine.update([("a", 5)]),  # type: ignore[list-item]
        ]
        for ask in wrong:
            with pytest.raises(SearchlibError):
                ask()
        assert [r.ids for r in engine.rank(iter(["boat", ""]))] == [("a",), ()]  # type: ignore[arg-type]
        assert engine.update({"a": {"year": 2000}}).updated == 1
        assert [hit.id for hit in engine.search("boat", where="year = 2000")] == ["a"]
