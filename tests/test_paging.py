"""Pages are the parts of one ranking, whatever ranks; cursors keep to their commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.types import TopK
from searchlib import Document, Engine, Settings
from searchlib.cursors import make_cursor, read_cursor
from searchlib.errors import BadQuery
from searchlib.paging import ranked_part

RETRIEVERS = [
    "bm25", "bm25_passage", "sparse", "lookup", "dense", "static", "hybrid", "instant",
]  # fmt: skip
QUERY = "the blues song bread boat"


def shallow(engine: Engine, name: str) -> Any:
    return engine.fused(("bm25", "sparse", "dense"), depth=2) if name == "shallow" else name


@pytest.mark.parametrize("unit", ["document", "passage"])
@pytest.mark.parametrize("name", [*RETRIEVERS, "shallow"])
def test_pages_are_the_parts_of_one_ranking(engine: Engine, name: str, unit: Any) -> None:
    retriever = shallow(engine, name)
    whole = engine.search(QUERY, 99, retriever=retriever, unit=unit)
    assert len({hit.id for hit in whole}) == len(whole) >= 3
    assert {hit.id for hit in whole} == set(
        engine.rank([QUERY], 99, retriever=retriever, unit=unit)[0].ids
    )
    for k in (1, 2, 3):
        paged = [
            hit
            for offset in range(0, len(whole) + k, k)
            for hit in engine.search(QUERY, k, retriever=retriever, unit=unit, offset=offset)
        ]
        assert paged == whole
    assert [hit.rank for hit in whole] == list(range(1, len(whole) + 1))


def test_within_its_depth_a_fusion_is_paged_as_it_ranks(engine: Engine) -> None:
    hybrid = engine.retriever("hybrid")
    [plain] = hybrid.top([QUERY], 99, None, "document")
    paged = ranked_part(hybrid, QUERY, None, "document", offset=2, k=3, paged=True)
    assert paged.ids.tolist() == plain.ids[2:5].tolist()
    assert paged.scores.tolist() == pytest.approx(plain.scores[2:5].tolist())


class Leaning:
    """What it ranks first hangs on how many are asked for, as that of vectors' codes does."""

    direct = True

    def top(self, queries: list[str], k: int, where: object, unit: str) -> list[TopK]:
        ids = np.roll(np.arange(250), k // 10)[:k]
        return [TopK(ids, -np.arange(len(ids), dtype=np.float32))]


def test_pages_of_vectors_repeat_nothing() -> None:
    leaning: Any = Leaning()
    found: list[int] = []
    for offset in range(0, 300, 10):
        page = ranked_part(leaning, QUERY, None, "document", offset=offset, k=11, paged=True)
        found += page.ids[:10].tolist()
    assert sorted(found) == list(range(250))
    [alone] = leaning.top([QUERY], 7, None, "document")
    plain = ranked_part(leaning, QUERY, None, "document", offset=0, k=7, paged=False)
    assert plain.ids.tolist() == alone.ids.tolist()


def test_cursors_go_through_all_hits(engine: Engine) -> None:
    for query, sort in ((QUERY, None), (QUERY, "-title"), (None, None), (None, "-id")):
        found, cursor = [], None
        while True:
            page = engine.page(query, 2, cursor=cursor, sort=sort)
            found += page.hits
            cursor = page.cursor
            if cursor is None:
                break
        if query is None:
            assert found == engine.browse(99, sort=sort or "id")
        else:
            assert found == engine.search(query, 99, sort=sort)


def test_a_cursor_keeps_to_its_question_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine.create(tmp_path / "i", Settings(dense_model=None, sparse_model=None)) as engine:
        engine.add([Document(f"d{n}", "the boat", metadata={"n": n}) for n in range(5)])
        cursor = engine.page("boat", 2).cursor
        with pytest.raises(BadQuery, match="another query, filter or order"):
            engine.page("boats", 2, cursor=cursor)
        with pytest.raises(BadQuery, match="another query, filter or order"):
            engine.page("boat", 2, cursor=cursor, where="n > 1")
        assert [hit.rank for hit in engine.page("boat", 9, cursor=cursor).hits] == [3, 4, 5]
        with monkeypatch.context() as later:  # times of commits are whole seconds
            later.setattr("indexes.draft.now", lambda: "2099-01-01T00:00:00+00:00")
            engine.update([("d1", {"n": 9})])
        with pytest.raises(BadQuery, match="generation 1 of the index, which is at 2 now"):
            engine.page("boat", 2, cursor=cursor)


@pytest.mark.parametrize(
    "cursor", ["", 3, b"x", "x", "é", "!!!!", "W10", "bnVsbA", "A" * 9999, "WzEsMiwzXQ", "[1,2,3]"]
)
def test_what_is_no_cursor(cursor: Any) -> None:
    with pytest.raises(BadQuery, match="cursor"):
        read_cursor(cursor, (1, "now"), ("q",))


def test_a_cursor_comes_back() -> None:
    commit = 3, "2024-05-01T10:30:00+00:00"
    assert read_cursor(make_cursor(commit, ("q", None), 20), commit, ("q", None)) == 20


def test_sorting_what_a_query_matches(engine: Engine) -> None:
    for retriever in ("bm25", "hybrid", "sparse"):
        matching = set(engine.rank(["boat bread"], 99, retriever=retriever)[0].ids)
        if retriever == "hybrid":
            matching = set(engine.rank(["boat bread"], 99, retriever="bm25_passage")[0].ids)
        hits = engine.search("boat bread", 99, retriever=retriever, sort="-id")
        assert [hit.id for hit in hits] == sorted(matching, reverse=True)
        assert hits[1:2] == engine.search(
            "boat bread", 1, retriever=retriever, sort="-id", offset=1
        )
    with pytest.raises(BadQuery, match="'dense' matches every document"):
        engine.search("boat", retriever="dense", sort="id")
    assert engine.search("zebra", retriever="bm25", sort="id") == []


def test_facets_of_all_and_of_some(engine: Engine) -> None:
    with pytest.raises(BadQuery, match="illegal k: 0"):
        engine.facets("year", top=0)
    assert engine.facets("id", top=1)[0][1] == 1
    assert sum(count for _, count in engine.facets("id", where="id ^= 'b'", top=99)) == len(
        engine.ids_where("id ^= 'b'")
    )
