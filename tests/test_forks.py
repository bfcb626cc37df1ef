"""A process forked while threads search: its child opens the index anew and searches, too."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes import forking, store
from searchlib import Document, Engine, Settings
from searchlib.encoders import blas, ternary
from searchlib.encoders.ternary import Ternary

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("no forks here", allow_module_level=True)

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
LIMIT = 60  # seconds; a child that hangs never ends
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add(Document(f"s{n}", f"blues song number w{n}") for n in range(9))
        engine.search("blues")
        yield engine


def in_child(work: Callable[[], object]) -> int | None:
    """The code with which a forked child ends that works; None where it hangs."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(LIMIT)
    if hung := child.is_alive():
        child.kill()
        child.join()
    return None if hung else child.exitcode


def search_anew(path: Path) -> None:
    with Engine.open(path) as engine:
        assert [hit.id for hit in engine.search("w3", 1)] == ["s3"]


@pytest.mark.parametrize("name", ["store", "connecting", "lexicon", "remembered"])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(mine: Engine, name: str) -> None:
    """Whether the child opens the index anew or not: the thread lets go of it first."""
    cache, segment = mine._query_cache("bm25"), mine.snapshot._segments[0]
    lock = {
        "store": segment.store._lock,
        "connecting": store._connecting,
        "lexicon": mine._analyzer()._lexicon()._lock,
        "remembered": cache._lock,
    }[name]
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go.wait(0.2)  # the fork waits meanwhile

    def search() -> None:
        assert lock.acquire(timeout=5)
        lock.release()
        search_anew(mine.path)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(LIMIT)
    try:
        assert in_child(search) == 0
    finally:
        go.set()
        holder.join()


def test_no_thread_is_within_one_blas_thread_in_the_child() -> None:
    inside, go = threading.Event(), threading.Event()

    def stay() -> None:
        with blas.one_blas_thread():
            inside.set()
            go.wait(LIMIT)

    def enter() -> None:
        assert blas._inside == 0
        with blas.one_blas_thread():
            assert blas._inside == 1

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(LIMIT)
    try:
        assert in_child(enter) == 0
        assert blas._inside == 1
    finally:
        go.set()
        thread.join()


@pytest.mark.skipif(ternary._ternary is None, reason="the extension is not compiled")
def test_a_child_forked_while_a_thread_computes_has_helpers() -> None:
    """Those at work are the parent's: with two workers, nobody else is in the child's way."""
    inside, stop = threading.Event(), threading.Event()
    matrix = Ternary(np.full((256, 16384), 0b01100100, np.uint8), np.ones(65536, np.float32))
    rows = np.ones((4, 256), np.float32)

    def compute() -> None:
        while not stop.is_set():
            inside.set()
            matrix.product(rows)

    def by_others() -> float:
        """Seconds of the processor's that other threads of this process have used."""
        return time.process_time() - time.thread_time()

    def be_helped() -> None:
        began, until = by_others(), time.monotonic() + LIMIT / 2
        while by_others() < began + 0.002:
            assert time.monotonic() < until
            matrix.product(rows, workers=2)

    thread = threading.Thread(target=compute)
    thread.start()
    assert inside.wait(LIMIT)
    try:
        assert [in_child(be_helped) for _ in range(2)] == [0] * 2
    finally:
        stop.set()
        thread.join()


def test_children_forked_while_threads_search_do_search(mine: Engine) -> None:
    stop = threading.Event()

    def ask() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            mine.search(f"blues w{n}", 3)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(lambda: search_anew(mine.path)) for _ in range(8)] == [0] * 8
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_locks_are_forgotten_with_their_owners() -> None:
    before = len(forking._locks)
    lock = forking.forkable_lock()
    assert len(forking._locks) == before + 1
    del lock
    assert len(forking._locks) == before
