"""Static vectors: a text's vector is the mean of its tokens' vectors, looked up; no network.

The layout is model2vec's (Tulkens and van Dongen 2024), which sentence-transformers opens as a
StaticEmbedding. Folders of either make one here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, UnsupportedModel
from .layout import digest_of, read_modules, read_optional, read_prompts, read_size
from .pooling import normalize, truncated
from .tokenizer_files import tokenizer_bytes
from .tokenizing import Tokenizer
from .weights import Weights, sense

LONGEST = 1_000_000
"""Tokens of a text that are read: there is no window."""
_HASHED = 65_536  # blocks of 1 KiB of a table that its digest reads, at most


@dataclass(frozen=True)
class StaticLayout:
    """A static encoder: a table of token vectors, perhaps normalisation of the mean."""

    path: Path  # of tokenizer.json and model.safetensors
    normalize: bool
    skip_unknown: bool  # model2vec leaves unknown words out; sentence-transformers looks them up
    query_prompt: str = ""
    document_prompt: str = ""
    size: int | None = None  # numbers of a vector that are kept, after normalisation
    max_tokens: int = LONGEST

    def digest(self) -> str:
        """Hash of all that its vectors depend on."""
        weights = Weights(self.path)
        hasher = hashlib.blake2b(tokenizer_bytes(self.path), digest_size=16)
        for name in sorted(weights):
            # subtle: a sample would not do, since tables fitted to two corpora share many rows
            data = np.ascontiguousarray(weights[name]).view(np.uint8).reshape(-1)
            hasher.update(f"{name} {weights[name].shape} {weights[name].dtype}\n".encode())
            step = max(1024, len(data) // _HASHED)
            for start in range(0, len(data), step):
                hasher.update(data[start : start + 1024].tobytes())
        settings = (self.normalize, self.skip_unknown, self.query_prompt, self.document_prompt)
        kept = () if self.size is None else (self.size,)
        return digest_of("static", hasher.hexdigest(), settings, *kept)


def is_static(folder: Path) -> bool:
    """Whether a model folder holds static vectors."""
    if (folder / "modules.json").is_file():
        return [kind for kind, _ in read_modules(folder)][:1] == ["StaticEmbedding"]
    return read_optional(folder / "config.json").get("model_type") == "model2vec"


def read_static(folder: Path) -> StaticLayout:
    """How `folder` makes static vectors.

    Raises UnsupportedModel where more follows the table than normalisation.
    """
    with sense(folder):
        query, document = read_prompts(folder)
        config = read_optional(folder / "config.json")
        skip = config.get("model_type") == "model2vec"
        if not (folder / "modules.json").is_file():
            return StaticLayout(folder, bool(config.get("normalize")), skip, query, document)
        modules = read_modules(folder)
        rest = [kind for kind, _ in modules[1:] if kind != "Dropout"]
        if rest not in ([], ["Normalize"]):
            raise UnsupportedModel(
                f"{folder} has modules {', '.join(rest)} after StaticEmbedding; only Normalize may "
                "follow here"
            )
        size = read_size(folder)
        return StaticLayout(modules[0][1], bool(rest), skip, query, document, size)


class StaticTable:
    """Texts to the means of their tokens' vectors; safe to use from several threads.

    A text of which no token is known has the zero vector.
    """

    def __init__(self, layout: StaticLayout, max_tokens: int) -> None:
        self._layout = layout
        with sense(layout.path):
            self.tokenizer = Tokenizer(layout.path, max_tokens)

    def vectors(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """(n, dimension) float32, one row a text."""
        if isinstance(texts, str):
            raise BadInput("texts must be a list of strings, not one string; write [text]")
        with sense(self._layout.path):
            table, unknown = self._table, self._unknown
            result = np.zeros((len(texts), table.shape[1]), np.float32)
            for row, ids in enumerate(self.tokenizer.words(texts, prompt)):
                known = ids if unknown is None else ids[ids != unknown]
                if len(known):
                    table[known].mean(axis=0, out=result[row])
            if self._layout.normalize:
                result = normalize(result)
            return truncated(result, self._layout.size or result.shape[1])

    @cached_property
    def _unknown(self) -> int | None:
        if not self._layout.skip_unknown:
            return None
        path = self._layout.path / "tokenizer.json"
        model: dict[str, Any] = json.loads(path.read_bytes())["model"]
        if model.get("unk_token") is None:
            found: int | None = model.get("unk_id")
            return found
        return self.tokenizer.id(model["unk_token"])

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        weights = Weights(self._layout.path)
        name = "embedding.weight" if "embedding.weight" in weights else "embeddings"
        table: NDArray[np.float32] = weights[name]
        if name == "embeddings":  # as model2vec folds them
            if "mapping" in weights:
                table = table[weights["mapping"]]
            if "weights" in weights:
                table = table * weights["weights"].astype(np.float32)[:, None]
        if table.ndim != 2 or not table.shape[1] or len(table) < self.tokenizer.size:
            raise ValueError(f"{table.shape} vectors for {self.tokenizer.size} tokens")
        return table.astype(np.float32, copy=False)
