"""The cores that this process may use, and threads on which the parts of a batch are answered."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Part = TypeVar("Part")
Answer = TypeVar("Answer")

_RUN = 8  # items that are worth a thread
_STACK = 1 << 20  # bytes of a thread that computes

_starting = threading.RLock()  # the size of stacks is the process's own
_most: list[int] = []  # what `at_most` says, the last one counts


def cores() -> int:
    """CPU cores that this process may use, and wants to (see `at_most`)."""
    return min([_available(), *_most[-1:]])


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let batches have no more than so many threads within the block, in the whole process."""
    if count < 1:
        raise ValueError(f"illegal number of threads: {count}, must be at least 1")
    _most.append(count)
    try:
        yield
    finally:
        _most.pop()


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_threads(answer: Callable[[Part], Answer], parts: Sequence[Part]) -> list[Answer]:
    """Each part's answer, in order; several parts share the threads."""
    if len(parts) == 1 or cores() == 1:
        return [answer(part) for part in parts]
    with small_stacks():
        answers = _pool().map(answer, parts)
    return list(answers)


@contextmanager
def small_stacks() -> Iterator[None]:
    """Threads that begin within the block get a stack of 1 MiB, not of 8.

    For those that compute. A limit on a process's memory counts whole stacks, used or not.
    """
    with _starting:
        before = threading.stack_size(_STACK)
        try:
            yield
        finally:
            threading.stack_size(before)


def in_runs(work: Callable[[Sequence[Part]], list[Answer]], items: Sequence[Part]) -> list[Answer]:
    """`work(items)`, whose answers are one an item, done in as many runs as there are cores."""
    count = min(cores(), len(items) // _RUN)
    if count <= 1:
        return work(items)
    size = -(-len(items) // count)
    runs = [items[start : start + size] for start in range(0, len(items), size)]
    return [answer for answers in on_threads(work, runs) for answer in answers]


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # late: one query needs no threads

    if hasattr(os, "register_at_fork"):  # threads do not live on in a forked process
        os.register_at_fork(after_in_child=_pool.cache_clear)
    return ThreadPoolExecutor(_available(), "search")
