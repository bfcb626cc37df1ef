"""One engine in several hands: threads, retrievers that are kept, closing; and wrong types."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from indexes.errors import Closed, Damaged
from indexes.snapshot import Snapshot
from indexes.types import TermVectors
from indexes.writer import Writer
from searchlib import Document, Engine, Settings
from searchlib.encoders.analyzer import Analyzer
from searchlib.errors import BadDocument, BadInput, BadQuery, ModelMismatch
from searchlib.protocols import Encoder
from searchlib.query_cache import QueryCache
from searchlib.recorded import recorded_settings

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
SONGS = [Document(f"s{n}", f"blues song number w{n} " * 3, metadata={"n": n}) for n in range(40)]


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Engine]:
    """An index of words, for one test."""
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add(SONGS)
        yield engine


def test_threads_ask_while_one_writes(mine: Engine) -> None:
    failed: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                assert mine.search("blues song", 3, where="n >= 0", explain=True)
                page = mine.page("blues song", 3)
                assert len(page.hits) == 3
                assert mine.rank(["blues", "song w3"], 2)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(25):
        mine.add([Document(f"new{n}", "blues song", metadata={"n": n})])
        mine.delete([f"s{n}"])
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_retriever_keeps_the_commit_it_was_made_of(mine: Engine) -> None:
    for made in (mine.refined("bm25"), mine.fused(["bm25"]), mine.retriever("bm25")):
        before = mine.search("w1", retriever=made)
        mine.add([Document("w1", "w1 w1 w1", metadata={"n": 1})])
        assert mine.search("w1", retriever=made) == before
        assert mine.search("w1", retriever=made, where="n = 1")[0].id == "s1"
        assert mine.search("w1", retriever="bm25")[0].id == "w1"
        mine.delete(["w1"])


def test_a_kept_retriever_explains_by_its_own_commit(
    tmp_path: Path, tiny_settings: Settings
) -> None:
    with Engine.create(tmp_path / "i.index", tiny_settings) as engine:
        engine.add(Document(f"s{n}", f"blues song number w{n}") for n in range(9))
        kept = engine.retriever("sparse")
        before = engine.explain("song w8", "s8", retriever=kept)
        engine.delete(f"s{n}" for n in range(8))
        engine.merge()
        assert engine.explain("song w8", "s8", retriever=kept) == before


def test_an_old_commit_goes_with_its_last_reader(mine: Engine) -> None:
    kept = mine.retriever("bm25")
    old = kept.snapshot
    mine.add([Document("x", "y")])
    assert old.n_documents == len(SONGS)
    assert len(list(old.all_ids())) == len(SONGS)
    store = old._segments[0].store._connection
    del kept, old
    with pytest.raises(Exception, match="closed"):
        store.execute("SELECT 1")


def test_a_relative_path_is_of_where_it_was_opened(
    mine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an index of the same name lies in the folder that is gone to."""
    elsewhere = tmp_path / "elsewhere"
    with Engine.create(elsewhere / "i.index", WORDS_ONLY) as other:
        other.add([Document("other", "blues")])
    monkeypatch.chdir(tmp_path)
    with Engine.open("i.index") as engine, Writer.open(Path("i.index")) as writer:
        monkeypatch.chdir(elsewhere)
        writer.delete(["s0"])
        writer.commit()
        writer.close()
        engine.add([Document("new", "blues")])
        engine.refresh()
        assert engine.info()["documents"] == len(SONGS)
        assert engine.verify() == []
        assert str(engine.path) == "i.index"
    with Engine.open("i.index") as other:
        assert other.info()["documents"] == 1


def test_verify_reads_the_last_commit(mine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.open(mine.path) as stale:
        mine.merge()
        mine.delete(["s0"])
        mine.merge()
        assert stale.verify() == []
    real = Snapshot.verify

    def interrupted(self: Snapshot, on_progress: object) -> list[str]:
        """Another process merges before the files are read."""
        monkeypatch.setattr(Snapshot, "verify", real)
        with Engine.open(mine.path) as other:
            other.delete(["s1"])
            other.merge()
        found = real(self)
        assert found
        return found

    monkeypatch.setattr(Snapshot, "verify", interrupted)
    assert mine.verify() == []
    [store] = mine.path.glob("*.store")
    store.write_bytes(store.read_bytes()[:-1])
    [problem] = mine.verify()
    assert store.name in problem


def open_files(folder: Path) -> int:
    """How many files in a folder this process has open."""
    links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(link.is_symlink() and link.readlink().parent == folder for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nobody lists what is open")
def test_what_was_open_is_closed(mine: Engine, engine: Engine) -> None:
    """At once, not when Python looks for cycles: nothing that holds files is in one."""
    gc.collect()
    gc.disable()
    try:
        mine.search("blues", where="n >= 0", explain=True)
        for n in range(3):
            before = open_files(mine.path)
            mine.refresh()
            mine.search("blues", where=f"n >= {n}", sort="n", explain=True)
            mine.rank(["blues", "song"], 2)
            mine.facets("n")
            assert open_files(mine.path) == before > 0
        before = open_files(engine.path)
        with Engine.open(engine.path) as other:
            other.search("blues")
            assert open_files(engine.path) > before
        assert open_files(engine.path) == before
    finally:
        gc.enable()


def held_refresh(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Thread, Event]:
    """A thread that refreshes, stopped between opening the last commit and showing it."""
    opened, go = Event(), Event()

    def slowly(snapshot: Snapshot, path: Path) -> Settings:
        if threading.current_thread() is refresher:
            opened.set()
            assert go.wait(60)
        return recorded_settings(snapshot, path)

    monkeypatch.setattr("searchlib.opened.recorded_settings", slowly)
    refresher = Thread(target=engine.refresh)
    refresher.start()
    assert opened.wait(60)
    return refresher, go


def meanwhile(held: Thread, go: Event, action: Callable[[], None]) -> None:
    """An action in another thread while one is held up; then both go on to their ends."""
    other = Thread(target=action)
    other.start()
    other.join(0.2)  # it must wait; where it does not, it is done by now
    go.set()
    held.join()
    other.join()


def test_two_refreshes_do_not_go_back(mine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.open(mine.path) as other:
        refresher, go = held_refresh(mine, monkeypatch)
        other.delete(["s1"])
    meanwhile(refresher, go, mine.refresh)
    assert mine.snapshot.n_documents == len(SONGS) - 1


def test_an_engine_closed_during_a_refresh_stays_closed(
    mine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher, go = held_refresh(mine, monkeypatch)
    meanwhile(refresher, go, mine.close)
    with pytest.raises(Closed):
        mine.search("blues")


def test_writers_read_the_commit_they_write_to(
    mine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the engine searches by then."""
    old = mine.snapshot
    mine.update({"s1": {"n": 1, "stock": 5}})
    refreshed = Engine._refreshed

    def then_back(engine: Engine) -> Snapshot:
        found = refreshed(engine)
        engine._snapshot = old
        return found

    monkeypatch.setattr(Engine, "_refreshed", then_back)
    mine.update({"s1": {"colour": "red"}})
    assert mine.delete_where("stock = 5") == 1
    mine.add([SONGS[1]])
    monkeypatch.undo()
    mine.refresh()
    assert mine.snapshot.n_documents == len(SONGS)
    assert mine.browse(1, where='id = "s1"')[0].metadata == {"n": 1}


def test_encoders_are_of_the_commit_that_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the index is re-encoded while one of the old encoders is being made."""
    path = tmp_path / "g.index"
    made, go = Event(), Event()

    def slowly(encoder: Encoder) -> QueryCache:
        if threading.current_thread() is writer and not made.is_set():
            made.set()
            assert go.wait(60)
        return QueryCache(encoder)

    with Engine.create(path, WORDS_ONLY) as engine:
        engine.add([Document("a", "Die Häuser stehen am Fluss")])
    with Engine.open(path) as engine, Engine.open(path) as other:
        monkeypatch.setattr("searchlib.opened.QueryCache", slowly)
        writer = Thread(target=engine.add, args=([Document("b", "Katzen in Häusern")],))
        writer.start()
        assert made.wait(60)
        other.reencode(replace(WORDS_ONLY, language="german"))
        meanwhile(writer, go, engine.refresh)
    with Engine.open(path) as engine:
        assert {hit.id for hit in engine.search("Haus", retriever="bm25")} == {"a", "b"}


def test_another_encoder_is_not_written_with(mine: Engine) -> None:
    mine._caches["bm25"] = QueryCache(Analyzer("german"))
    with pytest.raises(ModelMismatch, match="field 'bm25' was built with another model"):
        mine.add([Document("x", "y")])


def test_a_closed_engine_lets_go_of_all_it_held(tmp_path: Path, tiny_settings: Settings) -> None:
    """At once, not when Python next looks for cycles."""
    engine = Engine.create(tmp_path / "i.index", tiny_settings)
    engine.add(SONGS[:3])
    engine.search("blues")
    left = [weakref.ref(engine), weakref.ref(engine._query_cache("sparse").encoder)]
    gc.disable()
    try:
        engine.close()
        del engine
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_a_closed_engine_says_so(mine: Engine) -> None:
    mine.close()
    for call in (
        lambda: mine.search("blues"),
        lambda: mine.rank(["blues"]),
        lambda: mine.explain("blues", "s1"),
        lambda: mine.page("blues"),
        mine.browse,
        mine.info,
        mine.refresh,
        lambda: mine.add([Document("c", "closed")]),
        lambda: mine.delete(["s1"]),
        lambda: mine.update([("s1", {"n": 2})]),
        lambda: mine.facets("n"),
    ):
        with pytest.raises(Closed, match="closed"):
            call()
    mine.close()
    with Engine.open(mine.path) as again:
        assert again.info()["documents"] == len(SONGS)


def test_a_reader_of_a_closed_snapshot_says_so(mine: Engine) -> None:
    snapshot = Snapshot.open(mine.path)
    snapshot.close()
    with pytest.raises(Closed, match="closed"):
        snapshot.ids(np.array([1]))


def test_a_refresh_that_fails_changes_nothing(
    mine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(snapshot: Snapshot, path: Path) -> Settings:
        raise Damaged("its settings make no sense")

    before = mine.snapshot
    monkeypatch.setattr("searchlib.opened.recorded_settings", damaged)
    with pytest.raises(Damaged):
        mine.refresh()
    assert mine.snapshot is before
    assert mine.search("blues")


class Slow:
    """An encoder of one word a query, that lets others run meanwhile."""

    fingerprint = "slow"

    def encode_query(self, texts: list[str]) -> TermVectors:
        threading.Event().wait(0.0002)
        return TermVectors.of([{text: 1.0} for text in texts])


def test_threads_share_remembered_queries() -> None:
    cache = QueryCache(Slow(), size=8)  # type: ignore[arg-type]
    failed: list[BaseException] = []

    def ask(first: int) -> None:
        try:
            for n in range(300):
                one = f"w{(first + n) % 20}"
                assert cache.encode([one]).row(0) == {one: 1.0}  # type: ignore[union-attr]
                many = [f"w{(first * n + i) % 20}" for i in range(5)]
                rows = cache.encode(many)
                assert isinstance(rows, TermVectors)
                assert [list(rows.row(i)) for i in range(5)] == [[word] for word in many]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(n * 7,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(cache._rows) <= 8


def test_long_queries_are_remembered_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchlib.query_cache.BYTES", 50_000)
    cache = QueryCache(Analyzer("english"))
    for n in range(20):
        query = f"w{n} " + " ".join(f"x{i}" for i in range(100))
        assert len(cache.encode([query]).row(0)) == 101  # type: ignore[union-attr]
    assert 3 <= len(cache._rows) <= 10
    assert f"w19 {query[4:]}" in cache._rows
    cache.encode([" ".join(f"y{i}" for i in range(5000))])  # alone too large
    assert (len(cache._rows), cache._bytes) == (0, 0)
    cache.encode(["short"])
    assert len(cache._rows) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda e: e.search(None), "must be a text"),
        (lambda e: e.page(5), "must be a text"),
        (lambda e: e.search("blues", 2.5), "whole number"),
        (lambda e: e.search("blues", "3"), "whole number"),
        (lambda e: e.search("blues", retriever=None), "no retriever; this index has bm25"),
        (lambda e: e.rank("blues"), "list of texts"),
    ],
)
def test_wrong_types_of_questions(mine: Engine, wrong: Any, message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        wrong(mine)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda e: e.delete("12"), "list of texts"),
        (lambda e: e.delete([1]), "list of texts"),
        (lambda e: e.add([{"id": "x", "text": "y"}]), "document 1 is no Document but dict"),
        (lambda e: e.add("abc"), "document 1 is no Document but str"),
    ],
)
def test_wrong_types_of_what_is_written(mine: Engine, wrong: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wrong(mine)
    assert mine.info()["documents"] == len(SONGS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document(5, "t"), "its id is int"),  # type: ignore[arg-type]
        (Document("x", b"t"), "its text is bytes"),  # type: ignore[arg-type]
        (Document("x", "t", title=5), "its title is int"),  # type: ignore[arg-type]
        (Document("x", "t", metadata=[1]), "the metadata of 'x' are list"),  # type: ignore[arg-type]
        (Document("x", None), "its text is NoneType"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_of_documents(mine: Engine, document: Document, message: str) -> None:
    with pytest.raises(BadDocument, match=message):
        mine.add([document])
    told: list[str] = []
    report = mine.add([document, Document("y", "z")], skip_bad=True, on_bad=told.append)
    assert (report.added, len(told)) == (1, 1)
    assert mine.verify() == []


def test_an_empty_filter_is_none_and_not_all(mine: Engine) -> None:
    for ask in (
        lambda: mine.search("blues", where=""),
        lambda: mine.rank(["blues"], where=""),
        lambda: mine.browse(where=""),
        lambda: mine.facets("n", where=""),
    ):
        with pytest.raises(Exception, match="filter"):
            ask()


def test_sorted_hits_have_the_score_that_is_explained(engine: Engine) -> None:
    hits = engine.search("the blues song", 5, sort="-id", explain=True)
    assert hits
    for hit in hits:
        assert hit.explanation is not None
        assert hit.score == pytest.approx(hit.explanation.value, rel=1e-4)


def test_a_cursor_is_of_one_index(mine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of one that was made anew in the same place."""
    cursor = mine.page("blues", 3).cursor
    assert mine.page("blues", 3, cursor=cursor).hits
    monkeypatch.setattr(Snapshot, "created", "later")
    with pytest.raises(BadQuery, match="the cursor belongs to an index that was in this place"):
        mine.page("blues", 3, cursor=cursor)
