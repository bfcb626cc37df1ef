"""An index with all representations at any size, without encoding its documents.

Documents are lines of text. Their sparse vectors are real ones and mixtures (`vectors_data`);
beyond the real ones they belong to other texts than the line beside them, which changes no
timing. Dense vectors are made of the sparse ones: the weighted mean of the dense model's own
word embeddings, centred, of length 1; real text's geometry, though not the model's output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from engine_room import BUDGET, RECORDS_AT_ONCE, term_vectors
from material import Material
from numpy.typing import NDArray
from report import say

from indexes.types import Record, TermVectors
from indexes.writer import Writer
from searchlib import Engine, Settings
from searchlib.encoders.analyzer import Analyzer
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import BadInput

Csr = Any
GROUPS = 1000  # documents are dealt to so many groups: one is 0.1%
TABLES = ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight")


def make(path: Path, material: Material, size: int, settings: Settings | None = None) -> None:
    """Writes an index of `size` documents, each with {"group": i % GROUPS}, for `Engine.open`.

    Raises:
        BadInput: the material's vectors are not those of the index's sparse model.
        ModelNotFound: a model's files are nowhere to be found.
    """
    settings = settings or Settings()
    Engine.create(path, settings).close()
    texts = material.texts(size)
    rows = material.documents("short", size)
    say(f"indexing {size:,} documents with all representations")
    sparse = dense = None
    if settings.sparse_model is not None:
        sparse = term_vectors(rows, _terms(settings.sparse_model, rows.shape[1]))
    if settings.dense_model is not None:
        dense = dense_vectors(rows, settings.dense_model)
    analyzer = Analyzer(settings.language)
    with Writer.open(path, memory_budget=BUDGET) as writer:
        for start in range(0, size, RECORDS_AT_ONCE):
            stop = min(size, start + RECORDS_AT_ONCE)
            counts = analyzer.encode_document(texts[start:stop])
            added: dict[str, TermVectors | NDArray[np.float32]] = {
                "bm25": counts,
                "bm25_passage": counts,
            }
            if sparse is not None:
                added["sparse"] = sparse.select(start, stop)
            if dense is not None:
                added["dense"] = dense[start:stop]
            writer.add([_record(i, texts[i]) for i in range(start, stop)], added)
        writer.commit(settings.resolved().to_json())


def _record(i: int, text: str) -> Record:
    return Record(str(i), "", text, {"group": i % GROUPS}, passages=((0, len(text)),))


def _terms(model: str, width: int) -> list[str]:
    tokenizer = SparseEncoder(model).tokenizer
    if tokenizer.size != width:
        raise BadInput(
            f"the sparse vectors have {width:,} columns, the model's vocabulary {tokenizer.size:,}"
        )
    return [tokenizer.term(column) for column in range(width)]


def dense_vectors(rows: Csr, model: str) -> NDArray[np.float32]:
    """Weighted means of a model's word embeddings, centred and of length 1, float32 (n, dim).

    Raises:
        BadInput: the columns are not the word pieces that the model knows.
    """
    from safetensors import safe_open

    from searchlib.encoders.models import resolve

    with safe_open(resolve(model).path / "model.safetensors", framework="numpy") as file:
        name = next((table for table in TABLES if table in file.keys()), None)  # noqa: SIM118
        table = None if name is None else np.asarray(file.get_tensor(name), np.float32)
    if table is None or len(table) != rows.shape[1]:
        raise BadInput("the sparse vectors' columns are not the dense model's word pieces")
    made: NDArray[np.float32] = rows @ table
    made /= np.maximum(np.asarray(rows.sum(axis=1)).reshape(-1, 1), 1e-9)
    made -= made.mean(axis=0)
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
    return made
