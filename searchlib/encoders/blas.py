"""One BLAS thread for small matrices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from indexes.forking import forkable_lock

_lock = forkable_lock()
_inside = 0
_limit: Any = None


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the block numpy's BLAS uses one thread; nests, and may be entered by many threads.

    A query's matrices are so small that a second thread mostly waits: on a busy machine it makes
    a query ten times slower.
    """
    global _inside, _limit  # noqa: PLW0603  the setting is the process's own
    with _lock:
        if _inside == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limit.restore_original_limits()


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    return ThreadpoolController()


def _in_child() -> None:
    global _inside  # noqa: PLW0603  as above
    if _inside:  # of threads that the child has not
        _inside = 0
        _limit.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
