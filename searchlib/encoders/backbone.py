"""One transformer and its tokenizer: compiled code, numpy or torch, behind one interface."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from indexes.threads import cores, small_stacks

from ..errors import BadInput
from .batching import windows
from .blas import one_blas_thread
from .layout import LEAST_TOKENS, Transformer, check_ids, check_sizes
from .lean import LeanEncoder, lean_encoder
from .native import LONG, give_back
from .tokenizing import Ids, Tokenizer
from .weights import sense

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .network import Network

Result = TypeVar("Result")

LEAN_TOKENS = 64
"""Up to so many tokens, about four queries, numpy is as fast as torch."""
LEAN_WORK = 8e10
"""Multiply-adds that numpy does (some 2 seconds) before torch is loaded (3 to 6 seconds)."""


class Backbone:
    """Runs `transformer` over texts cut to `max_tokens`; `task` as for `network.Network`.

    On the CPU and for architectures that `lean` knows, it encodes single queries always and
    anything else until LEAN_WORK is spent; then torch is loaded, unless `lean` is compiled and
    there is no GPU. All agree within 1e-4. Safe to use from several threads.
    """

    def __init__(
        self,
        transformer: Transformer,
        task: Literal["hidden", "masked"],
        max_tokens: int,
        device: str | None,
    ) -> None:
        with sense(transformer.path):
            self.tokenizer = Tokenizer(transformer.path, max_tokens, transformer.lower)
        self._transformer = transformer
        self._task = task
        self._device = device
        self._spent = 0.0  # multiply-adds done by numpy
        self._lock = threading.RLock()

    def run(
        self,
        texts: Sequence[str],
        prompt: str,
        lean: Callable[[LeanEncoder, Sequence[Ids], int], list[Result]],
        full: Callable[[Network, int, Tensor, list[int]], Sequence[Result]],
    ) -> list[Result | None]:
        """One result a text, by `lean(encoder, texts, workers)` or `full(network, worker, hidden,
        lengths)`; None for a text of no tokens, which no network can read.

        `lean` gets the ids of some texts and returns a result for each, on so many threads;
        `full` gets a padded batch as `Network.run` says and returns one for each of its rows.
        """
        if isinstance(texts, str):
            raise BadInput("texts must be a list of strings, not one string; write [text]")
        results: list[Result | None] = []
        with sense(self._transformer.path):
            parallel = self.gpu is not None

            def tokenize(part: Sequence[str]) -> list[Ids]:
                return self.tokenizer.encode(part, prompt, parallel)

            for _, tokens in windows(texts, tokenize):
                found = self.run_tokens(tokens, lean, full)
                results.extend(found)
        return results

    @property
    def gpu(self) -> torch.device | None:
        """The (first) CUDA GPU that torch runs it on; None elsewhere, and until torch is needed."""
        if "_network" not in self.__dict__ or self._network.kind != "cuda":
            return None
        return self._network.devices[0]

    def run_tokens(
        self,
        tokens: list[Ids],
        lean: Callable[[LeanEncoder, Sequence[Ids], int], list[Result]],
        full: Callable[[Network, int, Tensor, list[int]], Sequence[Result]],
    ) -> list[Result | None]:
        """As `run`, of texts that are token ids already, special ones included."""
        path, known = self._transformer.path, self._transformer.vocabulary
        check_ids(path, tokens, known, self.tokenizer.size)
        results: list[Result | None] = [None] * len(tokens)
        some = [row for row, ids in enumerate(tokens) if len(ids)]
        if some:
            for rows, found in self._window([tokens[row] for row in some], lean, full):
                for row, result in zip(rows, found, strict=True):
                    results[some[row]] = result
        return results

    @property
    def vocabulary(self) -> int:
        """How many of the tokenizer's tokens the model knows."""
        known, size = self._transformer.vocabulary, self.tokenizer.size
        return size if known is None else min(known, size)

    def _window(
        self,
        tokens: list[Ids],
        lean: Callable[[LeanEncoder, Sequence[Ids], int], list[Result]],
        full: Callable[[Network, int, Tensor, list[int]], Sequence[Result]],
    ) -> Iterator[tuple[list[int], Sequence[Result]]]:
        encoder = self._lean_for(sum(map(len, tokens)))
        if encoder:
            with one_blas_thread():
                yield from _each(tokens, partial(lean, encoder), encoder.compiled)
            if len(tokens) > MOST_TOGETHER:  # documents, rather than queries
                give_back()
            return
        with self._lock:
            network = self._network
        yield from network.run(
            tokens, lambda worker, hidden, lengths: full(network, worker, hidden, lengths)
        )

    def _lean_for(self, count: int) -> LeanEncoder | None:
        """The numpy encoder, if it should encode the next `count` tokens."""
        if self._device not in (None, "cpu"):
            return None
        with self._lock:
            encoder = self._lean
            if encoder is None or count <= LEAN_TOKENS:
                return encoder
            if encoder.compiled and self._without_gpu():
                return encoder
            work = float(count) * encoder.work
            if "_network" in self.__dict__ or self._spent + work > LEAN_WORK:
                return None
            self._spent += work
            return encoder

    def _without_gpu(self) -> bool:
        if "_network" in self.__dict__:
            return bool(self._network.kind == "cpu")
        return self._device == "cpu" or not maybe_gpu()

    @cached_property
    def _lean(self) -> LeanEncoder | None:
        return lean_encoder(self._transformer.path, masked=self._task == "masked")

    @cached_property
    def _network(self) -> Network:
        from .network import Network

        check_sizes(self._transformer.path)
        return Network(self._transformer.path, self._task, self._device)


TOGETHER = 128  # tokens of texts that share a pass through the layers
MOST_TOGETHER = 16  # texts: each has a row of the vocabulary's logits


def _each(
    tokens: list[Ids], encode: Callable[[Sequence[Ids], int], list[Result]], compiled: bool
) -> Iterator[tuple[list[int], list[Result]]]:
    """([row], [result]) of each group of texts; compiled code runs on as many threads as BLAS.

    Each group on one of them, but where there is one only: that is shared by all.
    """
    workers = min(threads(), len(tokens)) if compiled else 1
    groups = [[row] for row in range(len(tokens))]
    if compiled:
        groups = groups_of([len(ids) for ids in tokens], workers)
    helping = threads() if compiled and len(groups) == 1 else 1

    def encoded(rows: list[int]) -> list[Result]:
        return encode([tokens[row] for row in rows], helping)

    if workers <= 1:
        for rows in groups:
            yield rows, encoded(rows)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        try:
            with small_stacks():
                found = pool.map(encoded, groups)
            yield from zip(groups, found, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def groups_of(lengths: Sequence[int], workers: int) -> list[list[int]]:
    """Texts that are encoded together, by their numbers: the longest first, like with like.

    A group has up to 128 tokens, so that it takes no more memory than a long text does, and
    no more than one worker's share of all. Short texts are not together with long ones (`native`).

    >>> groups_of([30, 200, 40, 70], workers=1)
    [[1], [3, 2], [0]]
    """
    most = min(TOGETHER, -(-sum(lengths) // max(workers, 1)))
    groups: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        apart = groups and lengths[row] < LONG <= lengths[groups[-1][0]]
        if not groups or apart or lengths[row] > room or len(groups[-1]) == MOST_TOGETHER:
            groups.append([])
            room = max(most, lengths[row])
        groups[-1].append(row)
        room -= lengths[row]
    return groups


def threads() -> int:
    """Threads to encode on: OMP_NUM_THREADS where it is set, else the cores there are."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores()) if asked.isdecimal() and int(asked) else cores()


@cache
def maybe_gpu() -> bool:
    """Whether torch might find a GPU here, as far as can be told without loading it."""
    if not sys.platform.startswith("linux"):
        return True
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):  # hidden from torch
        return False
    return any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def allowed_tokens(asked: int | None, limit: int, name: str) -> int:
    """The number of tokens to cut texts to; BadInput where more are asked than a model reads."""
    if asked is None:
        return limit
    if not LEAST_TOKENS <= asked <= limit:
        raise BadInput(
            f"illegal max_tokens value: {asked}, must be between {LEAST_TOKENS} and {limit} for "
            f"{name}"
        )
    return asked
