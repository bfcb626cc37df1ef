"""Queries for a dense model that is not run: means of word-pieces' vectors, looked up.

Documents keep the vectors that the model gave them. Each of the model's word-pieces has one vector,
fitted so that the normalised mean of a short text's comes near to what the model makes of it
(`searchlib/training/static_queries.py`), in four bits a number. A static encoder for queries alone
is what Li-LSR (arXiv:2505.01452) is for sparse models.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, ModelMismatch, UnsupportedModel
from .dense import DenseEncoder
from .last import LastVectors
from .layout import digest_of
from .models import DENSE_DEFAULT, QUERIES_DEFAULT, ModelFolder, resolve
from .nibbles import Nibbles
from .pooling import normalize
from .tokenizing import Tokenizer
from .weights import Weights, read_json, sense

CONFIG = "queries.json"
Floats = NDArray[np.float32]


class StaticQueries:
    """Queries of one dense model, by a table; safe to use from several threads.

    `name`: of a folder, or of the table that comes with searchlib. `fingerprint`: of the dense
    model whose documents are searched; None: any. Making it reads nothing.

    Raises at first use ModelNotFound; UnsupportedModel where the folder has no table, or one for
    another vocabulary than its dense model's; ModelMismatch where it is for another dense model.

    >>> StaticQueries().encode_query(["where to eat"]).shape  # doctest: +SKIP
    (1, 384)
    """

    def __init__(self, name: str | Path = QUERIES_DEFAULT, fingerprint: str | None = None) -> None:
        self.name = str(name)
        self._for = fingerprint
        self._last = LastVectors()  # "lookup" and "static" want the same

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the table is."""
        return resolve(self.name)

    @property
    def dense(self) -> str:
        """The name of the model whose vectors these resemble."""
        return str(self._config["dense"])

    def encode_query(self, texts: Sequence[str]) -> Floats:
        """(n, dimension) float32, one row a text; of a text without a known piece 0."""
        if isinstance(texts, str):
            raise BadInput("texts must be a list of strings, not one string; write [text]")
        return self._last.get(texts, "", self._made) if len(texts) else self._made([])

    def _made(self, texts: Sequence[str]) -> Floats:
        table = self._table
        result = np.zeros((len(texts), table.dim), np.float32)
        for row, ids in enumerate(self._tokenizer.plain_words(texts)):
            if len(ids):
                table.rows(ids).mean(axis=0, out=result[row])
        return normalize(result)

    def encode_document(self, texts: Sequence[str]) -> Floats:
        """Never: documents have the model's own vectors."""
        raise NotImplementedError("a table for queries encodes no documents")

    def shares(self, text: str) -> list[tuple[str, Floats]]:
        """Vectors that add up to the query's, one a word-piece in the order of the text."""
        [ids] = self._tokenizer.plain_words([text])
        if not len(ids):
            return []
        counts = Counter(ids.tolist())
        rows = self._table.rows(np.fromiter(counts, np.int32))
        rows *= np.fromiter(counts.values(), np.float32)[:, None]
        length = float(np.linalg.norm(rows.sum(axis=0)))
        rows /= np.float32(length or 1)
        return [(self._tokenizer.term(id), row) for id, row in zip(counts, rows, strict=True)]

    def matrix(self) -> Floats:
        """The table, (pieces, dimension) float32."""
        return self._table.matrix()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the table, and of the name of the model that it is for."""
        weights = Weights(self.folder.path)
        return digest_of("static queries", self.dense, weights.digest().hex())

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self.folder.path / CONFIG
        if not path.is_file():
            raise UnsupportedModel(f"{self.folder.path} has no table of queries' vectors: {CONFIG}")
        config = read_json(path)
        kinds = {"dense": str, "vocabulary": str, "dimension": int}
        if not all(isinstance(config.get(name), kind) for name, kind in kinds.items()):
            raise UnsupportedModel(f"{path} must say {', '.join(kinds)}")
        made_for = config.get("dense_fingerprint")
        if None not in (made_for, self._for) and made_for != self._for:
            raise ModelMismatch(
                f"{self.folder.path} was made for another dense model than the index has now "
                f"(fingerprint {str(made_for)[:12]}, now {str(self._for)[:12]}): make a table "
                "anew, `searchlib glance`, or leave it: `searchlib reencode --static-queries "
                f"{QUERIES_DEFAULT}`"
            )
        return config

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = DenseEncoder(self.dense).tokenizer
        if vocabulary_hash(tokenizer) != self._config["vocabulary"]:
            raise UnsupportedModel(
                f"{self.folder.path} is for another vocabulary than that of {self.dense}"
            )
        return tokenizer

    @cached_property
    def _table(self) -> Nibbles:
        size, dim = self._tokenizer.size, self._config["dimension"]
        weights = Weights(self.folder.path)
        with sense(self.folder.path):
            return Nibbles.checked(weights["codes"], weights["scales"], size, dim)


def static_queries(
    name: str | None, dense: str | None, fingerprint: str | None = None
) -> StaticQueries | None:
    """The table called `name` for a dense model's queries; None where that model has none.

    `fingerprint`: of the dense model. The table that comes with searchlib is for DENSE_DEFAULT.
    """
    if name is None or dense is None or (name == QUERIES_DEFAULT and dense != DENSE_DEFAULT):
        return None
    return StaticQueries(name, fingerprint)


def vocabulary_hash(tokenizer: Tokenizer) -> str:
    """Hash of a tokenizer's terms in the order of their ids."""
    terms = json.dumps([tokenizer.term(id) for id in range(tokenizer.size)])
    return hashlib.blake2b(terms.encode(), digest_size=16).hexdigest()
