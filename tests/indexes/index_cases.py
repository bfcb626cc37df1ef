"""Small documents, their rows, and a brute-force model of what an index must answer."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.directory import FileDirectory
from indexes.manifest import TermField, VectorField
from indexes.metadata import metadata_json, storable
from indexes.similarity import BM25, Dot
from indexes.snapshot import Snapshot
from indexes.store_writing import write_tables
from indexes.types import Record, TermVectors
from indexes.writer import MEMORY_BUDGET, Writer

DIM = 4
FIELDS = [
    TermField("bm25", "count", "document", BM25(), {"name": "words"}),
    TermField("bm25_passage", "count", "passage", BM25(), {"name": "words"}),
    TermField("sparse", "impact", "passage", Dot(), {"name": "halves"}),
    VectorField("dense", DIM, "passage", "exact", {"name": "checksums"}),
]
WORDS = ["red", "blue", "fish", "bird", "old", "new", "one", "two"]


def write_store(path: Path, records: Sequence[Record]) -> None:
    """Write the store of documents, in order."""
    write_tables(
        path,
        ((r.id, storable(r.title), metadata_json(r.metadata), r.hash) for r in records),
        (storable(record.text) for record in records),
        (
            (document, start, end)
            for document, record in enumerate(records)
            for start, end in record.passages
        ),
    )


def record(id: str, *passages: str, **metadata: object) -> Record:
    """A document whose text is its passages, one a line."""
    places, start = [], 0
    for passage in passages:
        places.append((start, start + len(passage)))
        start += len(passage) + 1
    text = "\n".join(passages)
    return Record(
        id,
        f"title of {id}",
        text,
        metadata,
        zlib.crc32(text.encode("utf-8", "surrogatepass")).to_bytes(4),
        tuple(places),
    )


def texts(records: Iterable[Record]) -> list[str]:
    """The passages of all records."""
    return [r.text[start:end] for r in records for start, end in r.passages]


def counts(passages: Sequence[str]) -> TermVectors:
    return TermVectors.of([dict(Counter(map(str, p.split()))) for p in passages])


def impacts(passages: Sequence[str]) -> TermVectors:
    """Weights that float16 holds exactly: halves of counts."""
    return TermVectors.of([{w: n / 2 for w, n in Counter(p.split()).items()} for p in passages])


def vectors(passages: Sequence[str]) -> NDArray[np.float32]:
    """(n, DIM) float32: any numbers that depend on the text only."""
    seeds = [zlib.crc32(passage.encode("utf-8", "surrogatepass")) for passage in passages]
    rows = [np.random.default_rng(seed).normal(size=DIM) for seed in seeds]
    return np.array(rows, np.float32).reshape(-1, DIM)


def rows(records: Sequence[Record]) -> dict[str, TermVectors | NDArray[np.float32]]:
    """The rows of all FIELDS."""
    passages = texts(records)
    return {
        "bm25": counts([r.text for r in records]),
        "bm25_passage": counts(passages),
        "sparse": impacts(passages),
        "dense": vectors(passages),
    }


def create(
    path: Path | FileDirectory, records: Sequence[Record] = (), budget: int = MEMORY_BUDGET
) -> None:
    """An index of `records`, committed once."""
    with Writer.create(path, FIELDS, {}, budget) as writer:
        writer.add(records, rows(records))
        writer.commit()


def query(*words: str) -> TermVectors:
    return TermVectors.of([dict.fromkeys(words, 1.0)])


def answers(snapshot: Snapshot, field: str, asked: object, **options: object) -> dict[str, float]:
    """{id: score} of all documents that a query finds."""
    [top] = snapshot.search(field, asked, 10**6, **options)
    assert (np.diff(top.scores) <= 0).all()
    return dict(zip(snapshot.ids(top.ids), top.scores.tolist(), strict=True))


def all_answers(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """What every field answers to a few queries, and with other similarities."""
    found = {}
    for words in (["red"], ["fish", "old", "two"], WORDS, ["absent"]):
        for field in ("bm25", "bm25_passage", "sparse"):
            found[f"{field} {words}"] = answers(snapshot, field, query(*words))
        name = f"idf {words}"
        found[name] = answers(snapshot, "sparse", query(*words), similarity=Dot(idf=1.0))
    for text in ("red fish", "bird"):
        found[f"dense {text}"] = answers(snapshot, "dense", vectors([text]))
    return found


def bm25_by_hand(records: Iterable[Record], words: Sequence[str]) -> dict[str, float]:
    """BM25 of whole documents as the formula says it, in float64: the slow obvious version."""
    bags = {r.id: Counter(r.text.split()) for r in records}
    lengths = {id: sum(bag.values()) for id, bag in bags.items()}
    average = sum(lengths.values()) / max(1, len(bags))
    k1, b = 0.9, 0.4
    scores: dict[str, float] = {}
    for word in words:
        frequency = sum(word in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - frequency + 0.5) / (frequency + 0.5))
        for id, bag in bags.items():
            if tf := bag[word]:
                norm = k1 * (1 - b + b * lengths[id] / average)
                scores[id] = scores.get(id, 0.0) + idf * tf / (tf + norm)
    return scores


class QuickDirectory(FileDirectory):
    """A directory for tests that do not pull the plug: `sync` does nothing."""

    def sync(self) -> None:
        pass
