"""The work that soak.py kills and watches: numbered steps, each visible at once or not at all.

What an index holds after step n follows from n alone, so whoever opens the index knows which
step it is at, if it is at one: an index that holds anything else holds half a step. Rows are made
of the texts' words without a model, for every kind of field there is.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.manifest import TermField, VectorField
from indexes.similarity import BM25, Dot
from indexes.snapshot import Snapshot
from indexes.types import Record, TermVectors
from indexes.writer import Writer
from searchlib import Document, Engine, Settings

IDS = 400  # documents that there may be at once
MOST = 120  # documents that a step adds or replaces
WORDS = [f"w{number}" for number in range(60)]
DIM = 8
BUDGET = 200_000  # bytes: a large step flushes several segments
SETTINGS = Settings(dense_model=None, sparse_model=None)
FIELDS = (
    TermField("bm25", "count", "document", BM25()),
    TermField("sparse", "impact", "passage", Dot()),
    VectorField("dense", DIM, "passage", "pq"),
)
Texts = dict[str, str]


def step(number: int, before: Mapping[str, str]) -> tuple[Texts, list[str]]:
    """What step `number` (from 1) adds or replaces, and which ids it deletes instead.

    Each step changes something: every text holds its step's number.
    """
    rng = random.Random(number)
    if number % 5 == 0 and before:
        return {}, rng.sample(sorted(before), rng.randint(1, max(1, len(before) // 3)))
    ids = rng.sample(range(IDS), rng.choice((1, 10, MOST)))
    texts = {
        f"d{id}": " ".join([f"step{number}", *rng.choices(WORDS, k=rng.randint(1, 30))])
        for id in ids
    }
    return texts, []


def all_contents() -> Iterator[Texts]:
    """What the index holds after 0, 1, 2, ... steps: {id: text}."""
    held: Texts = {}
    for number in itertools.count(1):
        yield held
        added, deleted = step(number, held)
        held = {id: text for id, text in held.items() if id not in deleted} | added


class Contents:
    """`all_contents`, remembered by the number of steps."""

    def __init__(self) -> None:
        self._known: list[Texts] = []
        self._steps: dict[frozenset[tuple[str, str]], int] = {}
        self._more = all_contents()

    def step_of(self, snapshot: Snapshot, most: int) -> int | None:
        """After how many steps, `most` at most, an index holds just this; None: after none.

        Of several the last: to add a document and delete it again changes nothing.
        """
        self.after(most)
        records = snapshot.records(snapshot.lookup(list(snapshot.all_ids())))
        step = self._steps.get(frozenset((found.id, found.text) for found in records))
        return step if step is not None and step <= most else None

    def after(self, steps: int) -> Texts:
        """What the index holds after so many steps."""
        while len(self._known) <= steps:
            held = next(self._more)
            self._steps[frozenset(held.items())] = len(self._known)
            self._known.append(held)
        return self._known[steps]


def create(path: Path, words_only: bool) -> None:
    """An empty index: of words by the whole engine, or of all kinds of fields by the writer."""
    if words_only:
        Engine.create(path, SETTINGS).close()
    else:
        Writer.create(path, FIELDS).close()


def work(path: Path, words_only: bool) -> None:
    """Step after step until this process is killed; each one's number to stdout when it is done."""
    contents = Contents()
    with Snapshot.open(path) as snapshot:
        done = contents.step_of(snapshot, snapshot.generation)
    if done is None:
        raise SystemExit("the index holds what no step leaves behind")
    sys.stdout.write(f"{done}\n")
    sys.stdout.flush()
    for number in itertools.count(done + 1):
        added, deleted = step(number, contents.after(number - 1))
        if words_only:
            with Engine.open(path) as engine:
                if deleted:
                    engine.delete(deleted)
                else:
                    engine.add([Document(id, text) for id, text in added.items()])
        else:
            with Writer.open(path, BUDGET) as writer:
                writer.delete(deleted)
                if added:
                    records = [record(id, text) for id, text in added.items()]
                    writer.add(records, rows(list(added.values())))
                writer.commit()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def record(id: str, text: str) -> Record:
    """A document of one passage."""
    return Record(id, "", text, {}, b"", ((0, len(text)),))


def rows(texts: list[str]) -> dict[str, TermVectors | NDArray[np.float32]]:
    """The rows of all FIELDS: counts, half counts, and numbers drawn from the text's words."""
    counts = [Counter(text.split()) for text in texts]
    drawn = [[sum(map(ord, text)) % (7 + axis) for axis in range(DIM)] for text in texts]
    return {
        "bm25": TermVectors.of([dict(bag) for bag in counts]),
        "sparse": TermVectors.of([{word: n / 2 for word, n in bag.items()} for bag in counts]),
        "dense": np.array(drawn, np.float32).reshape(-1, DIM),
    }


def wrong_with(snapshot: Snapshot, expected: Texts) -> str | None:
    """How what a snapshot holds and answers differs from `expected`; None where it does not."""
    ids = list(snapshot.all_ids())
    if len(set(ids)) != len(ids) or set(ids) != expected.keys():
        return f"generation {snapshot.generation} has other documents"
    records = snapshot.records(snapshot.lookup(ids))
    if {found.id: found.text for found in records} != expected:
        return f"generation {snapshot.generation} has other texts"
    word = WORDS[len(ids) % len(WORDS)]
    having = {id: text.split().count(word) for id, text in expected.items()}
    having = {id: count for id, count in having.items() if count}
    query = TermVectors.of([{word: 1.0}])
    for field in snapshot.fields:
        if isinstance(snapshot.fields[field], VectorField):
            [top] = snapshot.search(field, np.ones((1, DIM), np.float32), len(ids) + 1)
            found = dict.fromkeys(snapshot.ids(top.ids))
            right: dict[str, object] = dict.fromkeys(expected)
        else:
            [top] = snapshot.search(field, query, len(ids) + 1)
            found = dict.fromkeys(snapshot.ids(top.ids))
            right = dict.fromkeys(having)
            if field == "sparse":
                scores = dict(zip(found, top.scores.tolist(), strict=True))
                if scores != {id: count / 2 for id, count in having.items()}:
                    return f"generation {snapshot.generation} scores otherwise in {field}"
        if found.keys() != right.keys():
            return f"generation {snapshot.generation} answers otherwise in {field}"
    return None
