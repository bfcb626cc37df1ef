"""The cores that this process may use, and threads on which the parts of a batch are answered."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Part = TypeVar("Part")
Answer = TypeVar("Answer")


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_threads(answer: Callable[[Part], Answer], parts: Sequence[Part]) -> list[Answer]:
    """Each part's answer, in order; several parts share the threads."""
    if len(parts) == 1 or cores() == 1:
        return [answer(part) for part in parts]
    return list(_pool().map(answer, parts))


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # late: one query needs no threads

    if hasattr(os, "register_at_fork"):  # threads do not live on in a forked process
        os.register_at_fork(after_in_child=_pool.cache_clear)
    return ThreadPoolExecutor(cores(), "search")
