"""What was measured, kept with the index: one JSON file in its folder, replaced as a whole.

A record says what was asked (queries and judgements by place and hash), of what (retriever,
filter, generation, models, versions), and what came out; so it can be derived again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from indexes.directory import FileDirectory
from indexes.errors import Damaged
from indexes.snapshot import Snapshot

from .. import __version__
from ..errors import NotFound, SearchlibError
from ..protocols import Progress
from .measures import evaluate
from .measuring import Index, Source, depth, ranked
from .runs import themselves
from .trec import Qrels

FILE = "measured.json"
MAGIC = "searchlib measurements"
TOLERANCE = 1e-4
LARGEST = 16 << 20  # bytes of the file


@dataclass(frozen=True)
class Record:
    """One figure, and everything that it depends on."""

    retriever: str
    measure: str
    value: float
    where: str | None
    source: Source
    asked: str  # hash of the queries and judgements
    queries: int
    generation: int  # of the index
    models: Mapping[str, str]  # field -> its encoder's fingerprint
    versions: Mapping[str, str]
    created: str

    @property
    def name(self) -> str:
        """What the figure is of, for messages."""
        return f"{self.retriever} {self.measure}" + f" where {self.where}" * bool(self.where)

    @property
    def key(self) -> tuple[str | None, ...]:
        """A later record of equal key replaces an earlier one."""
        return self.retriever, self.measure, self.where, self.asked

    def changes(self, snapshot: Snapshot, asked: str) -> list[str]:
        """What is otherwise now than when it was measured."""
        found = []
        if asked != self.asked:
            found.append("the queries or judgements were changed since")
        if snapshot.generation != self.generation:
            found.append(
                f"the index was changed since (generation {self.generation} then, "
                f"{snapshot.generation} now)"
            )
        models = models_of(snapshot)
        names = sorted(self.models.keys() | models.keys())
        others = [name for name in names if self.models.get(name) != models.get(name)]
        if others:
            found.append(f"other models: {', '.join(others)}")
        now = versions()
        found += [
            f"{name} {was} then, {now[name]} now"
            for name, was in self.versions.items()
            if now.get(name, was) != was
        ]
        return found


@dataclass(frozen=True)
class Outcome:
    """A record that was derived again: the value now, and what is wrong or otherwise."""

    record: Record
    value: float | None  # None: it could not be derived
    changes: Sequence[str]

    @property
    def problem(self) -> str | None:
        """What is wrong, in one line; None where the figure is the recorded one."""
        was = f"{FILE}: {self.record.name} was {self.record.value:.4f}"
        because = "".join(f"; {change}" for change in self.changes)
        if self.value is None:
            return f"{was} and cannot be derived again{because}"
        if abs(self.value - self.record.value) > TOLERANCE:
            return f"{was}, is {self.value:.4f}{because or '; nothing is known to have changed'}"
        return None


def record_of(
    index: Index,
    source: Source,
    topics: Mapping[str, str],
    judged: Qrels,
    *,
    retriever: str,
    where: str | None,
    values: Mapping[str, float],
) -> list[Record]:
    """Records of what a retriever was found to be worth (measure -> value) by these judgements."""
    return [
        Record(
            retriever,
            measure,
            value,
            where,
            source.absolute(),
            hash_of(topics, judged),
            len(judged),
            index.snapshot.generation,
            models_of(index.snapshot),
            versions(),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        for measure, value in values.items()
    ]


def keep(path: Path, records: Sequence[Record]) -> None:
    """Keep records with the index in folder `path`, beside those that are there.

    Raises Locked where somebody writes, Damaged where the file of records is, StorageFailed.
    """
    directory = FileDirectory(path)
    with directory.lock():
        kept = {record.key: record for record in (*read_records(path), *records)}
        body: dict[str, Any] = {"format": MAGIC, "version": 1}
        body["records"] = [asdict(record) for record in kept.values()]
        body["checksum"] = _checksum(body)
        directory.replace(FILE, json.dumps(body, indent=1).encode() + b"\n")


def read_records(path: Path) -> list[Record]:
    """What was measured with the index in folder `path`; none where there is no such file.

    Raises Damaged, naming the file, where it is not what was written.
    """
    place = path / FILE
    try:
        if not place.is_file() or place.is_symlink():
            return []
        if place.stat().st_size > LARGEST:
            raise ValueError("too large")
        body = json.loads(FileDirectory(path).read(FILE))
        if body["format"] != MAGIC or body["version"] != 1:
            raise ValueError("of another format")
        if body.pop("checksum") != _checksum(body):
            raise ValueError("changed")
        return [
            Record(**{**values, "source": Source(**values["source"])}) for values in body["records"]
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(
            f"{place}: the recorded figures are damaged ({error}); nothing else needs that file"
        ) from None


def problems(path: Path) -> list[str]:
    """What is wrong with the file of records, if there is one."""
    try:
        read_records(path)
    except Damaged as error:
        return [str(error)]
    return []


def reproduce(index: Index, on_progress: Progress) -> list[Outcome]:
    """Derive every record of an index again.

    Raises NotFound where there is none, Damaged.
    """
    records = read_records(index.folder)
    if not records:
        raise NotFound(f"{index.path} holds no figures; `searchlib eval ... --record` keeps some")
    groups: dict[tuple[Source, str, str | None], list[Record]] = {}
    for record in records:
        groups.setdefault((record.source, record.retriever, record.where), []).append(record)
    outcomes = []
    for (source, retriever, where), some in groups.items():
        try:
            topics, judged, _ = source.read()
            measures = list(dict.fromkeys(record.measure for record in some))
            k = depth(measures)
            own = themselves(index.snapshot, topics, judged)
            run = ranked(
                index, topics, k=k, retriever=retriever, where=where, themselves=own,
                on_progress=on_progress,
            )  # fmt: skip
            found = evaluate(judged, run, ",".join(measures)).mean
        except SearchlibError as error:
            outcomes += [Outcome(record, None, [str(error)]) for record in some]
            continue
        asked = hash_of(topics, judged)
        outcomes += [
            Outcome(record, found[record.measure], record.changes(index.snapshot, asked))
            for record in some
        ]
    return outcomes


def models_of(snapshot: Snapshot) -> dict[str, str]:
    """The fingerprint of each field's encoder."""
    return {name: str(spec.encoder["fingerprint"]) for name, spec in snapshot.fields.items()}


def versions() -> dict[str, str]:
    """Of what computes the figures."""
    packages = {name: version(name) for name in ("numpy", "ir-measures")}
    return {"searchlib": __version__, "python": platform.python_version(), **packages}


def hash_of(topics: Mapping[str, str], judged: Qrels) -> str:
    """A hash of queries and judgements, whatever file they come from."""
    content = json.dumps([topics, judged], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _checksum(body: Mapping[str, Any]) -> str:
    content = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
