"""Systems over equal documents and queries: their times, recalls and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine_room import Searcher
from oracle import Oracle
from report import Result
from rounds import Times, quantiles, query_times, turns

Systems = dict[str, Searcher]


@dataclass(frozen=True)
class Comparison:
    """`asked` queries put to each of the systems over `size` documents in each round."""

    systems: Systems
    oracle: Oracle
    size: int
    asked: int
    rounds: int

    def times(self, k: int) -> Times:
        """Seconds of each query."""
        asks = {name: partial(_ask, system, k) for name, system in self.systems.items()}
        return query_times(asks, self.asked, self.rounds)

    def recall(self, k: int) -> dict[str, float]:
        """Each system's mean recall over the queries."""
        total = dict.fromkeys(self.systems, 0.0)
        for i in range(self.asked):
            answers = {name: some.rows(some.ask(i, k)) for name, some in self.systems.items()}
            for name, recall in self.oracle.recall(answers, i, k).items():
                total[name] += recall
        return {name: some / self.asked for name, some in total.items()}

    def queries(self, task: str, k: int) -> tuple[Times, list[Result]]:
        """The times, and every system's quantiles and recall."""
        times = self.times(k)
        results: list[Result] = []
        for name, recall in self.recall(k).items():
            results += quantiles(name, task, self.size, times[name])
            results.append(Result(name, task, self.size, "recall", recall))
        return times, results

    def batches(self, task: str, threads: int) -> Iterator[Result]:
        """Queries a second, k = 10, where all are given at once."""
        actions: dict[str, Callable[[], object]] = {
            name: partial(system.batch, 10, threads) for name, system in self.systems.items()
        }
        task = f"{task}, batch, {threads} thread{'s' * (threads > 1)}"
        for name, (wall, _) in turns(actions, self.rounds, threads).items():
            yield Result(name, task, self.size, "qps", self.asked / wall)


def _ask(system: Searcher, k: int, i: int) -> Any:
    return system.ask(i, k)
