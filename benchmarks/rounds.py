"""Times several systems fairly: in one process, turn by turn, on as many threads, by medians.

Systems take turns after every BLOCK queries: often enough that a busy machine is busy for all,
seldom enough that each finds its own data in the caches, as it would alone. A query's time is
its median over the rounds, so a moment in which the machine did something else does not count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import Result, say

from indexes.threads import at_most as searchlib_at_most

BLOCK = 25  # queries
ROUNDS = 5
Ask = Callable[[int], Any]  # answers query number i
Times = Mapping[str, NDArray[np.float64]]  # seconds of each query


def query_times(systems: Mapping[str, Ask], queries: int, rounds: int, threads: int = 1) -> Times:
    """Seconds of each query for each system: the median of the rounds, after one unmeasured."""
    seconds = {name: np.empty((rounds + 1, queries)) for name in systems}
    names = list(systems)
    with at_most(threads):
        for turn in range(rounds + 1):
            for start in range(0, queries, BLOCK):
                for name in names:
                    ask, row = systems[name], seconds[name][turn]
                    for i in range(start, min(start + BLOCK, queries)):
                        before = time.perf_counter()
                        ask(i)
                        row[i] = time.perf_counter() - before
                names = [*names[1:], names[0]]
    return {name: np.median(found[1:], axis=0) for name, found in seconds.items()}


def turns(
    actions: Mapping[str, Callable[[], object]], rounds: int, threads: int = 1
) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds of each action, done in turn, after once unmeasured."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    with at_most(threads):
        for turn in range(rounds + 1):
            for name, action in actions.items():
                before, used = time.perf_counter(), time.process_time()
                action()
                took = time.perf_counter() - before, time.process_time() - used
                if turn:
                    found[name].append(took)
    return {
        name: (median(wall for wall, _ in some), median(cpu for _, cpu in some))
        for name, some in found.items()
    }


def quantiles(system: str, task: str, size: int, seconds: NDArray[np.float64]) -> Iterator[Result]:
    """The median and the 95th percentile of the queries' times, in milliseconds."""
    for quantile in (50, 95):
        value = 1000 * float(np.percentile(seconds, quantile))
        yield Result(system, task, size, f"p{quantile}_ms", value)


def ratio(times: Times, ours: str, peers: list[str], quantile: float = 50) -> tuple[float, str]:
    """How many times as fast we are as the fastest peer, at a quantile, and which peer that is."""
    peer = min(peers, key=lambda name: float(np.percentile(times[name], quantile)))
    best, own = (float(np.percentile(times[name], quantile)) for name in (peer, ours))
    return best / own, peer


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """BLAS, OpenMP, numba (as far as they are loaded) and searchlib on so many threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads), searchlib_at_most(threads):
        numba = sys.modules.get("numba")
        before = numba.get_num_threads() if numba else 1
        if numba:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            if numba:
                numba.set_num_threads(before)


def compiled_once(*kernels: Any) -> None:
    """Keeps what numba compiles of a peer's kernels for the next run; their speed is the same.

    They take up to half a minute to compile. Where it is kept: NUMBA_CACHE_DIR.
    """
    for kernel in kernels:
        kernel.enable_caching()


def installed(module: str, package: str) -> bool:
    """Whether a peer can be imported; if not, one line says how to get it."""
    from importlib.util import find_spec

    if find_spec(module) is not None:
        return True
    say(f"{package} is not installed, so it is left out; pip install {package}")
    return False
