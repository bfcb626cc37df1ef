"""The vectors that were made last, for another who wants those of the same texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .activations import Array


class LastVectors:
    """Remembers the vectors of the texts that were asked for last, with their prompt.

    >>> last, made = LastVectors(), []
    >>> def make(texts: Sequence[str]) -> Array:
    ...     made.extend(texts)
    ...     return np.ones((len(texts), 2), np.float32)
    >>> shapes = last.get(["a", "b"], "", make).shape, last.get(["b", "c"], "", make).shape
    >>> made
    ['a', 'b', 'c']
    """

    def __init__(self) -> None:
        # subtle: one value, put in one step, so that several threads may ask
        self._kept: tuple[str, dict[str, int], Array] = ("", {}, np.empty((0, 0), np.float32))

    def get(
        self, texts: Sequence[str], prompt: str, make: Callable[[Sequence[str]], Array]
    ) -> Array:
        """One row a text, (n, dim): those known, and those that `make` makes of the others."""
        of, places, vectors = self._kept
        if of != prompt:
            places = {}
        missing = [text for text in dict.fromkeys(texts) if text not in places]
        if missing:
            made = make(missing)
            vectors = np.concatenate([vectors, made]) if places else made
            first = len(vectors) - len(made)
            places = {**places, **{text: first + i for i, text in enumerate(missing)}}
        result: Array = vectors[[places[text] for text in texts]]
        if missing:
            self._kept = prompt, {text: row for row, text in enumerate(texts)}, result
        return result

    def put(self, texts: Sequence[str], prompt: str, vectors: Array) -> None:
        """Remember these instead of what was asked for last."""
        self._kept = prompt, {text: row for row, text in enumerate(texts)}, vectors
