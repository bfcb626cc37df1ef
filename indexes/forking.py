"""Locks that a fork waits for, so that no child finds one held by a thread that it has not."""

from __future__ import annotations

import os
import threading
import weakref

_PATIENCE = 5.0  # seconds

_locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
_held: list[threading.Lock] = []
_adding = threading.Lock()  # held while forking: `_locks` and `_held` stay as they are


def forkable_lock() -> threading.Lock:
    """A lock that is free in every child; whoever holds it must not wait for another of these.

    >>> with forkable_lock():
    ...     pass
    """
    lock = threading.Lock()
    with _adding:
        _locks.add(lock)
    return lock


def _before() -> None:
    _adding.acquire()
    for lock in list(_locks):
        # subtle: a signal's handler may fork while its own thread holds one
        if lock.acquire(timeout=_PATIENCE):
            _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()
    _adding.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
