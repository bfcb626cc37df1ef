"""Vectors that are known already: of the same texts, by the same encoder, made earlier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from indexes.readback import stacked
from indexes.snapshot import Snapshot

from .cache import Found, VectorCache
from .intake import Hashed
from .protocols import Encoder, Splitter, Vectors
from .types import Document, TermVectors

NOT_STORED = "\ufffd"  # what an index holds in place of a lone surrogate


def no_twins(hashes: Sequence[bytes]) -> Mapping[bytes, str]:
    """Knows of no document."""
    return {}


@dataclass(frozen=True)
class Passages:
    """Passages of a snapshot by what an encoder sees of them: text -> the passage's number."""

    snapshot: Snapshot
    numbers: Mapping[str, int] = field(default_factory=dict)

    def find(self, name: str, fingerprint: str, texts: Sequence[str]) -> Found:
        """Which texts field `name` has rows of by that encoder, and these, as stored.

        Raises Damaged where the index's files are.
        """
        known = self._made_by(name, fingerprint)
        places = [place for place, text in enumerate(texts) if known and text in self.numbers]
        if not places:
            return np.empty(0, np.int64), TermVectors.of([])
        wanted = np.array([self.numbers[texts[place]] for place in places], np.int64)
        return np.array(places, np.int64), self.snapshot.stored_rows(name, wanted)

    def derive(self, encoder: Encoder, texts: Sequence[str]) -> Found:
        """Which texts' vectors an encoder can make of rows that are stored, and these.

        So can one that blends documents with their dense vectors, where both have rows here, and
        one that multiplies another's vectors by a matrix.
        """
        nothing = np.empty(0, np.int64), TermVectors.of([])
        if not self.numbers:
            return nothing
        from .encoders.dense import DenseEncoder
        from .encoders.sparse import SparseEncoder

        if isinstance(encoder, DenseEncoder) and (before := encoder.plain_fingerprint):
            found, vectors = self.find("dense", before, texts)
            return (found, encoder.mapped(vectors)) if isinstance(vectors, np.ndarray) else nothing
        if not isinstance(encoder, SparseEncoder) or encoder.blend is None:
            return nothing
        plain, dense = encoder.plain_fingerprint, encoder.blend.fingerprint
        if not (plain and self._made_by("sparse", plain) and self._made_by("dense", dense)):
            return nothing
        places, terms = self.find("sparse", plain, texts)
        if not len(places):
            return nothing
        _, vectors = self.find("dense", dense, texts)
        assert isinstance(terms, TermVectors)
        assert isinstance(vectors, np.ndarray)
        made = encoder.blended(terms, vectors)
        return nothing if made is None else (places, made)

    def remind(self, encoder: Encoder, texts: Sequence[str]) -> None:
        """Tell an encoder that blends the dense vectors of texts that are stored."""
        if not self.numbers:
            return
        from .encoders.sparse import SparseEncoder

        if not isinstance(encoder, SparseEncoder) or encoder.blend is None:
            return
        places, vectors = self.find("dense", encoder.blend.fingerprint, texts)
        if len(places):
            assert isinstance(vectors, np.ndarray)
            encoder.blend.remind([texts[place] for place in places.tolist()], vectors)

    def _made_by(self, name: str, fingerprint: str) -> bool:
        spec = self.snapshot.fields.get(name)
        return spec is not None and spec.encoder.get("fingerprint") == fingerprint


@dataclass(frozen=True)
class Earlier:
    """Finds the passages of documents' earlier versions in an index.

    `splitter` must be the one that cut them. `twins` tells of content hashes the ids of documents
    that had the same content under any id: of files that were moved.
    """

    snapshot: Snapshot
    splitter: Splitter
    twins: Callable[[Sequence[bytes]], Mapping[bytes, str]] = no_twins

    def passages(self, documents: Sequence[Hashed], texts: Sequence[str]) -> Passages:
        """Those passages of the documents' earlier versions whose text is among `texts`."""
        wanted = {text for text in texts if NOT_STORED not in text}
        if not wanted or not self.snapshot.n_documents:
            return Passages(self.snapshot)
        twins = self.twins([hash for _, hash in documents])
        ids = [document.id for document, _ in documents]
        ids += [twins[hash] for _, hash in documents if hash in twins]
        found = np.unique(self.snapshot.lookup(ids))
        found = found[found >= 0]
        numbers: dict[str, int] = {}
        for number, record in zip(found.tolist(), self.snapshot.records(found), strict=True):
            document = Document(record.id, record.text, record.title, record.metadata)
            passages = self.splitter(document)
            if tuple((passage.start, passage.end) for passage in passages) != record.passages:
                continue  # cut by another version of this program: who knows what was encoded
            first, _ = self.snapshot.passages_of(number)
            for passage in passages:
                if passage.text in wanted:
                    numbers.setdefault(passage.text, first + passage.number)
        return Passages(self.snapshot, numbers)


def encode_once(
    encoder: Encoder,
    name: str,
    texts: Sequence[str],
    *,
    dimension: int | None,
    cache: VectorCache,
    earlier: Passages,
) -> tuple[Vectors, list[str]]:
    """One row a text for field `name`, and which texts the encoder had to read for that.

    A row comes from the cache, else from the index (as stored, or made of what is), else from
    the encoder, which reads each text once; where nothing is written, it is empty. `dimension`: of
    its vectors; None for terms.
    """
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    distinct = list(places)
    written = np.array([bool(text.strip()) for text in distinct], np.bool_)
    missing = np.flatnonzero(written)
    order: list[NDArray[np.int64]] = []
    blocks: list[Vectors] = []
    fingerprint = encoder.fingerprint
    finders: tuple[Callable[[Sequence[str]], Found], ...] = (
        partial(cache.get, fingerprint, dimension=dimension),
        partial(earlier.find, name, fingerprint),
        partial(earlier.derive, encoder),
    )
    for find in finders:
        found, vectors = find([distinct[place] for place in missing.tolist()])
        if len(found):
            order.append(missing[found])
            blocks.append(vectors)
            missing = np.delete(missing, found)
    unknown = [distinct[place] for place in missing.tolist()]
    if unknown or not blocks:
        earlier.remind(encoder, unknown)
        vectors = encoder.encode_document(unknown)
        cache.put(fingerprint, unknown, vectors)
        order.append(missing)
        blocks.append(vectors)
    if len(blank := np.flatnonzero(~written)):
        order.append(blank)
        blocks.append(_nothing(blocks[0], len(blank)))
    if len(blocks) > 1 or len(rows) > len(distinct):
        rows = np.argsort(np.concatenate(order))[rows]
        return _taken(blocks, rows), unknown
    return blocks[0], unknown


def _nothing(like: Vectors, count: int) -> Vectors:
    """Rows of texts in which nothing is written: zeros, no terms.

    A model makes something of them too, and that is near to very short queries.
    """
    if isinstance(like, np.ndarray):
        return np.zeros((count, like.shape[1]), np.float32)
    none = np.empty(0, np.int32)
    return TermVectors([], np.zeros(count + 1, np.int64), none, none.astype(np.float32))


def _taken(blocks: Sequence[Vectors], rows: NDArray[np.int64]) -> Vectors:
    """Rows of all blocks, which are counted through."""
    vectors = [block for block in blocks if isinstance(block, np.ndarray)]
    if vectors:
        return np.concatenate(vectors)[rows]
    return stacked([block for block in blocks if isinstance(block, TermVectors)]).take(rows)
