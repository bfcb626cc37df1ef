"""Makes the golden index that test_golden.py opens: run once for a format version, then committed.

    python tests/indexes/golden/make_golden.py tests/indexes/golden/v2

It has what an index can have: two segments, an upsert, dead documents, a shared file, codes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from indexes.manifest import TermField, VectorField
from indexes.similarity import BM25, Dot
from indexes.types import Record, TermVectors
from indexes.writer import Writer

FIELDS = [
    TermField("bm25", "count", "document", BM25(), {"analyzer": "split"}),
    TermField("bm25_passage", "count", "passage", BM25(), {"analyzer": "split"}),
    TermField("sparse", "impact", "passage", Dot(), {"model": "none"}),
    VectorField("dense", 3, "passage", "pq", {"model": "none"}),
]


def record(id: str, *passages: str, **metadata: object) -> Record:
    """A document whose text is its passages, one a line."""
    text = "\n".join(passages)
    ends = np.cumsum([len(passage) + 1 for passage in passages]).tolist()
    starts = [0, *ends[:-1]]
    places = tuple((start, end - 1) for start, end in zip(starts, ends, strict=True))
    return Record(id, f"Title of {id}", text, metadata, id.encode(), places)


def add(writer: Writer, *records: Record) -> None:
    """Add documents; a passage's vector counts its words, its "o" and its "e"."""
    passages = [r.text[start:end] for r in records for start, end in r.passages]
    bags = [{w: float(p.split().count(w)) for w in p.split()} for p in passages]
    wholes = [{w: float(r.text.split().count(w)) for w in r.text.split()} for r in records]
    numbers = [[len(p.split()), p.count("o"), p.count("e")] for p in passages]
    writer.add(
        records,
        {
            "bm25": TermVectors.of(wholes),
            "bm25_passage": TermVectors.of(bags),
            "sparse": TermVectors.of([{w: n / 4 for w, n in bag.items()} for bag in bags]),
            "dense": np.array(numbers, np.float32),
        },
    )


def main(path: Path) -> None:
    """Write the index into an empty folder."""
    with Writer.create(path, FIELDS, {"made by": "make_golden.py"}) as writer:
        add(
            writer,
            record("boat", "the boat lies in the harbour", "no wind no boat", year=1999),
            record("owl", "an owl sits in the elm", year=2004, tags=["bird", "night"]),
            record("soup/🍲", "soup of leek and potato", year=2004),
            record("gate", "the gate is open", "the gate is shut", year=1980),
            record("rain", "rain on the roof", year=None),
            record("lamp", "a lamp by the door"),
        )
        writer.commit()
        add(
            writer,
            record("owl", "the owl left the elm", year=2005, tags=["bird"]),
            record("fog", "fog over the harbour", year=2011),
        )
        writer.delete(["soup/🍲"])
        writer.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
