"""Dense encoders: a text is one vector. Reimers and Gurevych 2019 (arXiv:1908.10084)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .batching import windows
from .layout import DenseLayout, digest_of, read_dense
from .lean import LeanEncoder, lean_encoder
from .models import DENSE_DEFAULT, ModelFolder, resolve
from .pooling import Steps, pool_batch, pool_rows
from .terms import checked
from .tokenizing import Ids, Span, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network

LEAN_TOKENS = 1024
"""Up to so many tokens numpy encodes on the CPU, rather than load torch for them."""
LEAN_TOKENS_WARM = 64
"""The same, where torch is loaded already."""


class DenseEncoder:
    """Texts to float32 (n, dimension), by a sentence-transformers or Hugging Face encoder.

    `model`: a name or a folder (see `models.resolve`). `device`: "cpu", "cuda", "cuda:1", "mps",
    or None, the best there is. `max_tokens`: texts are cut there, special tokens included; the
    model's own limit by default. Making an encoder reads nothing; its files are looked up at
    first use, and torch is loaded when there is more to encode than a few queries.

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
        self._lock = threading.RLock()

    def encode_document(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text; a text without words has a finite vector too."""
        return self._encode(texts, self._layout.document_prompt)

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text, with the model's prompt for queries."""
        return self._encode(texts, self._layout.query_prompt)

    def offsets(self, text: str) -> list[Span]:
        """Character spans of the word-pieces of `text`, uncut, without special tokens."""
        return self.tokenizer.offsets(text)

    @property
    def special_tokens_count(self) -> int:
        """How many of `max_tokens` go to special tokens, and to a document's prompt."""
        prompt = self._layout.document_prompt
        used = len(self.tokenizer.offsets(prompt)) if prompt else 0
        return self.tokenizer.special_tokens_count + used

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the model's files are."""
        return resolve(self.name)

    @cached_property
    def max_tokens(self) -> int:
        """Tokens a text is cut to, special ones included."""
        return allowed_tokens(self._max_tokens, self._layout.transformer.max_tokens, self.name)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        transformer = self._layout.transformer
        return Tokenizer(transformer.path, self.max_tokens, transformer.lower)

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._encode(["a"], "").shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: equal fingerprints mean equal vectors."""
        return digest_of("dense", self._layout.digest(), self.max_tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """What makes this encoder again: JSON values."""
        return {"model": self.name, "max_tokens": self._max_tokens}

    @cached_property
    def _layout(self) -> DenseLayout:
        return read_dense(self.folder.path)

    @cached_property
    def _steps(self) -> Steps:
        return Steps(self._layout)

    @cached_property
    def _lean(self) -> LeanEncoder | None:
        return lean_encoder(self._layout.transformer.path, masked=False)

    @cached_property
    def _network(self) -> Network:
        from .network import Network

        return Network(self._layout.transformer.path, "hidden", self._device)

    def _skip(self, prompt: str) -> int:
        """Leading tokens that aren't pooled: the prompt's, where the model says so."""
        if not prompt or self._layout.include_prompt:
            return 0
        return len(self.tokenizer.encode([prompt])[0]) - len(self.tokenizer.encode([""])[0]) + 1

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        texts = checked(texts)
        skip = self._skip(prompt)
        vectors: NDArray[np.float32] | None = None

        def tokenize(part: Sequence[str]) -> list[Ids]:
            return self.tokenizer.encode(part, prompt)

        for start, tokens in windows(texts, tokenize):
            for rows, pooled in self._pooled(tokens, skip):
                if vectors is None:
                    vectors = np.zeros((len(texts), pooled.shape[1]), np.float32)
                vectors[start + np.asarray(rows)] = pooled
        if vectors is None:
            return np.zeros((0, self.dimension), np.float32)
        return self._steps(vectors)

    def _pooled(self, tokens: list[Ids], skip: int) -> Any:
        """(rows, (len(rows), dim)) in any order, before projections."""
        modes = self._layout.pooling
        few = sum(map(len, tokens)) <= (
            LEAN_TOKENS_WARM if "_network" in self.__dict__ else LEAN_TOKENS
        )
        if few and self._device in (None, "cpu"):
            with self._lock:
                lean = self._lean
            if lean is not None:
                for row, ids in enumerate(tokens):
                    yield [row], pool_rows(lean.hidden(ids), modes, skip)[None]
                return
        with self._lock:
            network = self._network

        def work(worker: int, hidden: Tensor, lengths: list[int]) -> NDArray[np.float32]:
            pooled = pool_batch(hidden, lengths, modes, skip)
            return pooled.cpu().numpy()

        yield from network.run(tokens, work)


def allowed_tokens(asked: int | None, limit: int, name: str) -> int:
    """The number of tokens to cut texts to; BadInput where more are asked than a model reads."""
    if asked is None:
        return limit
    if not 3 <= asked <= limit:
        raise BadInput(
            f"illegal max_tokens value: {asked}, must be between 3 and {limit} for {name}"
        )
    return asked
