"""Which representations an index has: one encoder each, and the fields that hold their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from indexes.manifest import FieldSpec, TermField, VectorField
from indexes.similarity import BM25, Dot

from .config import Settings
from .encoders.analyzer import Analyzer
from .encoders.dense import DenseEncoder
from .encoders.sparse import SparseEncoder
from .passages import Offsets, passage_text, split
from .protocols import Encoder, Splitter
from .types import Document, Passage


def make_encoder(name: str, settings: Settings, device: str | None) -> Encoder:
    """The encoder of "bm25", "sparse" or "dense"; weights are loaded when first needed."""
    if name == "bm25":
        return Analyzer(settings.language)
    encoder = _neural(name, settings, device, None)
    # subtle: several passages are cut to size before they are encoded, a single one here
    if settings.max_passages == 1 and encoder.max_tokens > settings.passage_tokens:
        return _neural(name, settings, device, settings.passage_tokens)
    return encoder


def _neural(
    name: str, settings: Settings, device: str | None, max_tokens: int | None
) -> DenseEncoder | SparseEncoder:
    if name == "sparse":
        assert settings.sparse_model is not None
        documents, queries = settings.sparse_documents, settings.sparse_queries
        return SparseEncoder(settings.sparse_model, device, max_tokens, documents, queries)
    assert settings.dense_model is not None
    return DenseEncoder(settings.dense_model, device, max_tokens)


def make_encoders(settings: Settings, device: str | None) -> dict[str, Encoder]:
    """All encoders that the settings ask for, by name."""
    names = ["bm25"]
    if settings.sparse_model is not None:
        names.append("sparse")
    if settings.dense_model is not None:
        names.append("dense")
    return {name: make_encoder(name, settings, device) for name in names}


def make_fields(settings: Settings, encoders: Mapping[str, Encoder]) -> Iterator[FieldSpec]:
    """The fields of a new index, each with its encoder's fingerprint."""
    made_by: dict[str, Any] = {
        "model": settings.language,
        "fingerprint": encoders["bm25"].fingerprint,
    }
    bm25 = BM25(settings.k1, settings.b)
    yield TermField("bm25", "count", "document", bm25, made_by)
    yield TermField("bm25_passage", "count", "passage", bm25, made_by)
    sparse, dense = encoders.get("sparse"), encoders.get("dense")
    if sparse is not None:
        made_by = {"model": settings.sparse_model, "fingerprint": sparse.fingerprint}
        yield TermField("sparse", "impact", "passage", Dot(), made_by)
    if isinstance(dense, DenseEncoder):
        made_by = {"model": settings.dense_model, "fingerprint": dense.fingerprint}
        yield VectorField("dense", dense.dimension, "passage", settings.dense_kind, made_by)


def make_splitter(settings: Settings, encoders: Mapping[str, Encoder]) -> Splitter:
    """How an index cuts documents into passages that all its models read whole."""
    offsets, size = token_offsets(encoders), _window(settings, encoders)

    def splitter(document: Document) -> list[Passage]:
        if settings.max_passages == 1:
            whole = passage_text(document.title, document.text)
            return [Passage(document.id, 0, 0, len(document.text), whole)]
        return split(document, offsets, size, settings.overlap)[: settings.max_passages]

    return splitter


def _window(settings: Settings, encoders: Mapping[str, Encoder]) -> int:
    # the settings' window or the smallest model's, less two for the special tokens
    models = (e for e in encoders.values() if isinstance(e, (DenseEncoder, SparseEncoder)))
    return min([settings.passage_tokens, *(model.max_tokens for model in models)]) - 2


def token_offsets(encoders: Mapping[str, Encoder]) -> Offsets:
    """What measures passages: a model's word-pieces, or words where there is no model."""
    for name in ("dense", "sparse"):
        encoder = encoders.get(name)
        if isinstance(encoder, (DenseEncoder, SparseEncoder)):
            return encoder.offsets
    return word_offsets


def word_offsets(text: str) -> list[tuple[int, int]]:
    """Character spans of a text's words.

    >>> word_offsets("Salt water")
    [(0, 4), (5, 10)]
    """
    return [match.span() for match in re.finditer(r"\w+", text)]
