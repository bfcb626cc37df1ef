"""Dense encoders: a text is one vector. Reimers and Gurevych 2019 (arXiv:1908.10084)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .backbone import Backbone, allowed_tokens
from .dense_layout import DenseLayout, read_dense
from .last import LastVectors
from .layout import digest_of
from .lean import LeanEncoder
from .models import DENSE_DEFAULT, ModelFolder, resolve
from .pooling import Steps, pool_batch, pool_rows
from .static import StaticLayout, StaticTable, is_static, read_static
from .tokenizing import Ids, Span, Tokenizer
from .weights import sense

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .network import Network


class DenseEncoder:
    """Texts to float32 (n, dimension), by a sentence-transformers or Hugging Face encoder.

    A folder of static vectors (see `static`) is one too; it needs no torch.

    `model`: a name or a folder (see `models.resolve`). `device`: "cpu", "cuda" (all GPUs),
    "cuda:1", "mps", or None, the best there is. `max_tokens`: texts are cut there, special tokens
    included; by default, and at most, where the model says. Making an encoder reads nothing: its
    files are looked up at first use, and torch is loaded when there is much to encode.

    Raises ModelNotFound, UnsupportedModel at first use.

    >>> DenseEncoder().encode_query(["where to eat"]).shape  # doctest: +SKIP
    (1, 384)
    """

    def __init__(
        self,
        model: str | Path = DENSE_DEFAULT,
        device: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.name = str(model)
        self._device = device
        self._max_tokens = max_tokens
        self._last: LastVectors | None = None

    def encode_document(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text; a text without words has a finite vector too."""
        return self._encode(texts, self._layout.document_prompt)

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text, with the model's prompt for queries."""
        return self._encode(texts, self._layout.query_prompt)

    def remember(self) -> None:
        """Keep the vectors of the last texts from now on: somebody else wants the same."""
        self._last = self._last or LastVectors()

    def remind(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Tell the vectors of documents that somebody will ask for next."""
        self.remember()
        assert self._last is not None
        self._last.put(texts, self._layout.document_prompt, vectors)

    def offsets(self, text: str) -> list[Span]:
        """Character spans of the word-pieces of `text`, uncut, without special tokens."""
        return self.tokenizer.offsets(text)

    @property
    def special_tokens_count(self) -> int:
        """How many of `max_tokens` go to special tokens and to a document's prompt."""
        return self.tokenizer.overhead(self._layout.document_prompt)

    @property
    def room(self) -> int:
        """How many of a document's own tokens are read."""
        return self.max_tokens - self.special_tokens_count

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the model's files are."""
        return resolve(self.name)

    @cached_property
    def max_tokens(self) -> int:
        """Tokens a text is cut to, special ones included."""
        return allowed_tokens(self._max_tokens, self._layout.max_tokens, self.name)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._body.tokenizer

    @property
    def is_static(self) -> bool:
        """Whether it looks vectors up instead of running a network."""
        return isinstance(self._layout, StaticLayout)

    @property
    def gpu(self) -> torch.device | None:
        """The GPU that it runs on by now; None while there is none."""
        return self._body.gpu if isinstance(self._body, Pooled) else None

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._made(["a"], "").shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: equal fingerprints mean equal vectors."""
        return digest_of("dense", self._layout.digest(), self.max_tokens)

    @cached_property
    def plain_fingerprint(self) -> str | None:
        """Of the same model without a linear map at its end; None where it has no such map."""
        plain = self._plain
        return plain and digest_of("dense", plain[0].digest(), self.max_tokens)

    def mapped(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (n, dim) as the model of `plain_fingerprint` made them, by the map as well."""
        assert self._plain is not None
        with sense(self.folder.path):
            return Steps(self._plain[1])(vectors)

    @cached_property
    def _layout(self) -> DenseLayout | StaticLayout:
        folder = self.folder.path
        return read_static(folder) if is_static(folder) else read_dense(folder)

    @cached_property
    def _plain(self) -> tuple[DenseLayout, DenseLayout] | None:
        layout = self._layout
        return None if isinstance(layout, StaticLayout) else layout.plain()

    @cached_property
    def _body(self) -> Pooled | StaticTable:
        layout = self._layout
        if isinstance(layout, StaticLayout):
            return StaticTable(layout, self.max_tokens)
        return Pooled(layout, self.max_tokens, self._device)

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        if len(texts) == 0 and not isinstance(texts, str):
            return np.zeros((0, self.dimension), np.float32)
        if self._last is None or isinstance(texts, str):
            return self._made(texts, prompt)
        return self._last.get(texts, prompt, lambda some: self._made(some, prompt))

    def _made(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        result = self._body.vectors(texts, prompt)
        with sense(self.folder.path):
            if not np.isfinite(result).all():
                raise ValueError("it makes vectors of what is not a number")
        return result


class Pooled:
    """A transformer, pooling of its states, and the steps after it."""

    def __init__(self, layout: DenseLayout, max_tokens: int, device: str | None) -> None:
        self._layout = layout
        self._backbone = Backbone(layout.transformer, "hidden", max_tokens, device)
        self.tokenizer = self._backbone.tokenizer

    @property
    def gpu(self) -> torch.device | None:
        """The GPU that it runs on by now."""
        return self._backbone.gpu

    def vectors(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text; at least one text.

        What a text of no tokens pools is 0, as in sentence-transformers.
        """
        found = self._backbone.run(texts, prompt, *self._ways(prompt))
        with sense(self._layout.transformer.path):
            rows = [np.zeros(self._width, np.float32) if row is None else row for row in found]
            return self._steps(np.stack(rows))

    @cached_property
    def _width(self) -> int:
        """Numbers that pooling leaves of a text."""
        [row] = self._backbone.run_tokens([np.zeros(1, np.int32)], *self._ways(""))
        assert row is not None
        return len(row)

    def _ways(
        self, prompt: str
    ) -> tuple[
        Callable[[LeanEncoder, Sequence[Ids], int], list[NDArray[np.float32]]],
        Callable[[Network, int, Tensor, list[int]], list[NDArray[np.float32]]],
    ]:
        """What pools the states of texts, in numpy and in torch."""
        modes, skip = self._layout.pooling, self._skip(prompt)
        # subtle: numbers of vectors of length 1 stay within 1e-4 of float32's then; others would
        # be as many times as far from them as these vectors are long
        rounded = self._layout.unit

        def lean(
            encoder: LeanEncoder, some: Sequence[Ids], workers: int
        ) -> list[NDArray[np.float32]]:
            hidden = encoder.hidden(some, workers, rounded=rounded)
            return [pool_rows(rows, modes, skip) for rows in hidden]

        def full(
            network: Network, worker: int, hidden: Tensor, lengths: list[int]
        ) -> list[NDArray[np.float32]]:
            return list(pool_batch(hidden, lengths, modes, skip).cpu().numpy())

        return lean, full

    @cached_property
    def _steps(self) -> Steps:
        return Steps(self._layout)

    def _skip(self, prompt: str) -> int:
        """Leading tokens that aren't pooled: the prompt's, where the model says so."""
        if not prompt or self._layout.include_prompt:
            return 0
        return self.tokenizer.prompt_length(prompt)
