"""Which representations an index has: one encoder each, and the fields that hold their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.manifest import FieldSpec, TermField, VectorField
from indexes.similarity import BM25, Dot

from .config import Settings
from .encoders.analyzer import Analyzer
from .errors import ModelMismatch, UnsupportedModel
from .passages import Offsets, Spans, passage_text, split
from .protocols import Encoder, Splitter
from .types import Document, Passage

if TYPE_CHECKING:
    from .encoders.dense import DenseEncoder
    from .encoders.sparse import SparseEncoder
    from .encoders.static_queries import StaticQueries

_UNKNOWN, _OTHER, _WORD = np.arange(3, dtype=np.uint8)


def make_encoder(
    name: str,
    settings: Settings,
    device: str | None,
    dense: Callable[[], object] | None = None,
) -> Encoder:
    """The encoder of "bm25", "sparse" or "dense"; weights are loaded when first needed.

    `dense`: gives the index's dense encoder to a sparse one that wants the same vectors.
    """
    if name == "bm25":
        return Analyzer(settings.language)
    encoder = _neural(name, settings, device, None, dense)
    # subtle: several passages are cut to size before they are encoded, a single one here
    if settings.max_passages == 1 and encoder.max_tokens > settings.passage_tokens:
        return _neural(name, settings, device, settings.passage_tokens, dense)
    return encoder


def _neural(
    name: str,
    settings: Settings,
    device: str | None,
    max_tokens: int | None,
    dense: Callable[[], object] | None,
) -> DenseEncoder | SparseEncoder:
    from .encoders.dense import DenseEncoder
    from .encoders.sparse import SparseEncoder

    if name == "sparse":
        assert settings.sparse_model is not None
        documents, queries = settings.sparse_documents, settings.sparse_queries
        model, power = settings.sparse_model, settings.sparse_length_power
        return SparseEncoder(
            model, device, max_tokens, documents, queries, length_power=power, dense=dense
        )
    assert settings.dense_model is not None
    return DenseEncoder(settings.dense_model, device, max_tokens)


def make_encoders(settings: Settings, device: str | None) -> dict[str, Encoder]:
    """All encoders that the settings ask for, by name."""
    encoders = {"bm25": make_encoder("bm25", settings, device)}
    dense = make_encoder("dense", settings, device) if settings.dense_model is not None else None
    if settings.sparse_model is not None:
        encoders["sparse"] = make_encoder("sparse", settings, device, lambda: dense)
    if dense is not None:
        encoders["dense"] = dense
    return encoders


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
        yield TermField("sparse", "impact", "passage", Dot(settings.sparse_idf), made_by)
    if dense is not None:
        from .encoders.dense import DenseEncoder

        assert isinstance(dense, DenseEncoder)
        made_by = {"model": settings.dense_model, "fingerprint": dense.fingerprint}
        yield VectorField("dense", dense.dimension, "passage", settings.dense_kind, made_by)


def check_static_queries(settings: Settings, fields: Mapping[str, FieldSpec]) -> None:
    """Load the table of query vectors, if there is one for the dense field.

    Raises:
        ModelNotFound, UnsupportedModel: there is none where the settings say.
        ModelMismatch: it is for another dense model.
    """
    table = make_static_queries(settings, fields)
    if table is not None:
        table.encode_query([""])


def make_static_queries(
    settings: Settings, fields: Mapping[str, FieldSpec]
) -> StaticQueries | None:
    """The table of query vectors for the dense field; None where it has none."""
    if "dense" not in fields:
        return None
    from .encoders.static_queries import static_queries

    fingerprint = fields["dense"].encoder["fingerprint"]
    return static_queries(settings.static_queries, settings.dense_model, fingerprint)


def make_splitter(settings: Settings, encoders: Mapping[str, Encoder]) -> Splitter:
    """How an index cuts documents into passages that all its models read whole.

    Raises UnsupportedModel where a model's prompt leaves no room for a text.
    """

    def whole(document: Document) -> list[Passage]:
        title, text = document.title, document.text
        return [Passage(document.id, 0, 0, len(text), passage_text(title, text))]

    if settings.max_passages == 1:
        return whole
    offsets, size = token_offsets(encoders), _window(settings, encoders)
    overlap = min(settings.overlap, size - 1)

    def splitter(document: Document) -> list[Passage]:
        if _surely_fits(document.title, document.text, offsets, size):
            return whole(document)
        return split(document, offsets, size, overlap)[: settings.max_passages]

    return splitter


def _surely_fits(title: str, text: str, offsets: Offsets, size: int) -> bool:
    """Whether `size` pieces are enough for any document of so few characters."""
    characters = len(title) + len(text)
    if offsets is word_offsets:
        return characters // 2 + 1 <= size
    # subtle: title and text may begin with a piece of no character; beyond ASCII, a tokenizer
    # may make one character several
    return characters + 2 <= size and title.isascii() and text.isascii()


def _window(settings: Settings, encoders: Mapping[str, Encoder]) -> int:
    """Word-pieces of a passage: the settings' number, of which two are special tokens, or what
    the model that reads least of a text reads."""
    size = settings.passage_tokens - 2
    for encoder in _neural_among(encoders).values():
        if encoder.room < 1:
            raise UnsupportedModel(
                f"{encoder.name} cannot encode documents: its prompt for them fills its window of "
                f"{encoder.max_tokens} tokens"
            )
        size = min(size, encoder.room)
    return size


def _neural_among(encoders: Mapping[str, Encoder]) -> dict[str, DenseEncoder | SparseEncoder]:
    """Those that read word-pieces; nothing of them is loaded where there is none."""
    if not encoders.keys() & {"dense", "sparse"}:
        return {}
    from .encoders.dense import DenseEncoder
    from .encoders.sparse import SparseEncoder

    return {
        name: encoder
        for name, encoder in encoders.items()
        if isinstance(encoder, (DenseEncoder, SparseEncoder))
    }


def token_offsets(encoders: Mapping[str, Encoder]) -> Offsets:
    """What measures passages: a model's word-pieces, or words where there is no model."""
    models = _neural_among(encoders)
    # subtle: a static model has no window, and its tokens may be larger than the other's
    models = {name: m for name, m in models.items() if len(models) == 1 or not _static(m)}
    encoder = models.get("dense") or models.get("sparse")
    return word_offsets if encoder is None else encoder.offsets


def _static(encoder: DenseEncoder | SparseEncoder) -> bool:
    from .encoders.dense import DenseEncoder

    return isinstance(encoder, DenseEncoder) and encoder.is_static


def word_offsets(text: str) -> Spans:
    """Character spans of a text's words, int64 (n, 2).

    >>> word_offsets("Salt water").tolist()
    [[0, 4], [5, 10]]
    """
    # subtle: what re.finditer(r"\w+", text) finds, ten times as fast
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds()
    known = kinds[codes]
    if not known.all():
        for code in np.unique(codes[known == _UNKNOWN]).tolist():
            kinds[code] = _WORD if re.match(r"\w", chr(code)) else _OTHER
        known = kinds[codes]
    is_word = np.zeros(len(text) + 2, np.bool_)
    np.equal(known, _WORD, out=is_word[1:-1])
    return np.flatnonzero(is_word[1:] != is_word[:-1]).reshape(-1, 2)


@cache
def _kinds() -> NDArray[np.uint8]:
    return np.zeros(0x110000, np.uint8)  # of characters, filled in as they are met


def check_fingerprint(spec: FieldSpec, encoder: Encoder) -> None:
    """Refuse to use a field with another encoder than the one that made it.

    Raises:
        ModelMismatch: the fingerprints differ.
    """
    recorded, model = spec.encoder["fingerprint"], spec.encoder["model"]
    if recorded != encoder.fingerprint:
        raise ModelMismatch(
            f"field {spec.name!r} was built with another model or other settings than "
            f"{model!r} gives now (fingerprint {recorded[:12]}, now {encoder.fingerprint[:12]}): "
            "bring back the model it was built with, or encode again: `searchlib reencode`"
        )
