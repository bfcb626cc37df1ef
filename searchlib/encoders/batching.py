"""Batches by a budget of tokens, sorted by length, that shrink when memory runs out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from .tokenizing import Ids

WINDOW = 2048  # texts that are tokenised and sorted together

Result = TypeVar("Result")


def windows(
    texts: Sequence[str], tokenize: Callable[[Sequence[str]], list[Ids]], size: int = WINDOW
) -> Iterator[tuple[int, list[Ids]]]:
    """(first row, its texts' tokens) of each run of `size` texts; the next is tokenised meanwhile.

    Memory follows `size`, not the number of texts.
    """
    starts = range(0, len(texts), size)
    if len(starts) <= 1:
        for start in starts:
            yield start, tokenize(texts)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as worker:
        ahead = worker.submit(tokenize, texts[:size])
        for start in starts:
            tokens = ahead.result()
            following = texts[start + size : start + 2 * size]
            if following:
                ahead = worker.submit(tokenize, following)
            yield start, tokens


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows in batches, longest first, each of at most `budget` tokens once padded.

    A text longer than the budget is a batch of its own.

    >>> batches([3, 9, 4, 4], budget=12)
    [[1], [2, 3, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    result: list[list[int]] = []
    longest = 0
    for row in order:
        if result and (len(result[-1]) + 1) * longest <= budget:
            result[-1].append(row)
        else:
            result.append([row])
            longest = max(lengths[row], 1)
    return result


class Pool(Generic[Result]):
    """Runs batches on several workers (one a device or a CPU thread), halving what doesn't fit.

    `work(worker, batch)` handles a batch of rows on worker 0, 1, ...; its exceptions come out of
    `run`. When it raises for want of memory, the batch is halved and tried again, and from then
    on no batch is larger than what failed. One row that doesn't fit raises MemoryError.
    """

    def __init__(self, workers: int, release: Callable[[], None] = lambda: None) -> None:
        self._workers = workers
        self._release = release  # gives cached memory back before trying again
        self._limit = 1 << 62  # tokens a batch; shrinks
        self._lock = threading.Lock()

    def run(
        self,
        rows: Iterable[list[int]],
        lengths: Sequence[int],
        work: Callable[[int, list[int]], Result],
        prepare: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[list[int], Result]]:
        """(rows, result) of each batch, as they end; `prepare` runs once in each thread."""
        todo = list(rows)
        if self._workers == 1 or len(todo) == 1:
            for batch in todo:
                yield from self._attempt(0, batch, lengths, work)
            return
        queue = iter(todo)
        stop = threading.Event()
        finished: list[list[tuple[list[int], Result]]] = []
        ready = threading.Condition()

        def consume(worker: int) -> None:
            prepare()
            while not stop.is_set():
                with self._lock:
                    batch = next(queue, None)
                if batch is None:
                    return
                done = list(self._attempt(worker, batch, lengths, work))
                with ready:
                    finished.append(done)
                    ready.notify()

        with ThreadPoolExecutor(self._workers, thread_name_prefix="encode") as threads:
            futures = [threads.submit(consume, worker) for worker in range(self._workers)]
            try:
                while True:
                    with ready:
                        while not finished and not all(future.done() for future in futures):
                            ready.wait(0.05)
                        done, finished[:] = finished[:], []
                    for results in done:
                        yield from results
                    for future in futures:
                        if future.done():
                            future.result()
                    if not done and all(future.done() for future in futures) and not finished:
                        return
            finally:
                stop.set()

    def _attempt(
        self,
        worker: int,
        batch: list[int],
        lengths: Sequence[int],
        work: Callable[[int, list[int]], Result],
    ) -> Iterator[tuple[list[int], Result]]:
        size = max(1, *(lengths[row] for row in batch)) * len(batch)
        if size > self._limit and len(batch) > 1:
            yield from self._halves(worker, batch, lengths, work)
            return
        try:
            result = work(worker, batch)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            self._release()
            if len(batch) == 1:
                raise MemoryError(f"no memory to encode a text of {size} tokens") from None
            with self._lock:
                self._limit = min(self._limit, max(size // 2, 1))
        else:
            yield batch, result
            return
        yield from self._halves(worker, batch, lengths, work)

    def _halves(
        self,
        worker: int,
        batch: list[int],
        lengths: Sequence[int],
        work: Callable[[int, list[int]], Result],
    ) -> Iterator[tuple[list[int], Result]]:
        middle = len(batch) // 2
        yield from self._attempt(worker, batch[:middle], lengths, work)
        yield from self._attempt(worker, batch[middle:], lengths, work)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception of numpy or torch says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
