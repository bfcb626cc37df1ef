"""The index to come, made with other models beside the one that serves, until it takes over.

It is an index of its own in a folder of the index, filled from the documents that the index
holds. Whatever stops the work, what it has committed stays, and the next run goes on from there:
a document is done where both hold it with the same content hash.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from indexes.directory import FileDirectory
from indexes.errors import Locked, NoIndex
from indexes.manifest import MANIFEST, FieldSpec
from indexes.snapshot import Snapshot
from indexes.writer import Writer

from .config import ANSWERING, Settings
from .engine import Engine
from .errors import BadInput, ModelMismatch, ModelNotFound, UnsupportedModel
from .indexing import AddReport, Pipeline, total_of
from .intake import Hashed
from .known import Earlier
from .protocols import Progress, Splitter
from .representations import check_static_queries
from .types import Document

FOLDER = "successor"  # in the index's folder
ROUNDS = 3  # of following what others write meanwhile, before they are kept from writing
AT_ONCE = 64  # documents held at once, besides those that are being encoded
IDS_AT_ONCE = 1000
PATIENCE = 60.0  # seconds to wait for another writer to finish


def reencode(
    engine: Engine,
    settings: Settings,
    fields: Mapping[str, FieldSpec],
    *,
    open_new: Callable[[Path], Engine],
    create: Callable[[Path, Settings], Engine],
    on_progress: Progress,
    cache: str | Path | None,
) -> AddReport:
    """Make an index what it would be with these settings and the fields that they make.

    `open_new`, `create`: of an engine like this one, of another folder. See `Engine.reencode`.
    """
    folder, seen = engine.folder / FOLDER, engine.settings
    engine.refresh()
    start = Made.of(engine)
    settings = carried(settings, seen, start.settings)
    if start == Made(settings, fields):
        discard(folder)
        return AddReport()
    if start.like(settings, fields):  # how an index is asked is no document's concern
        with patient_writer(engine.folder) as own:
            own.commit(settled(engine, settings, start).to_json())
        engine.refresh()
        return AddReport()
    splitter = splitter_of(engine)
    reports: list[AddReport] = []

    def follow_up(writer: Writer, pipeline: Pipeline) -> None:
        pipeline = replace(pipeline, earlier=Earlier(engine.snapshot, splitter))
        reports.append(follow(engine.snapshot, pipeline, writer, on_progress))

    successor = begun(engine, settings, fields, open_new)
    if successor is None:
        discard(folder)
        successor = create(folder, settings)
    with successor:
        for _ in range(ROUNDS):
            generation = engine.snapshot.generation
            with successor.writing(cache) as (writer, pipeline):
                follow_up(writer, pipeline)
            engine.refresh()
            if engine.snapshot.generation == generation:
                break
        with patient_writer(engine.folder) as own, successor.writing(cache) as (writer, pipeline):
            final = settled(engine, settings, start)
            if final.static_queries != settings.static_queries:  # are they for this model, too?
                check_static_queries(final, fields)
            follow_up(writer, pipeline)
            writer.commit(final.to_json())
            own.take_over(folder)
    engine.refresh()
    discard(folder)
    return total_of(reports)


@dataclass(frozen=True)
class Made:
    """What an index is made with."""

    settings: Settings
    fields: Mapping[str, FieldSpec]

    @staticmethod
    def of(engine: Engine) -> Made:
        """As of the engine's commit."""
        return Made(engine.settings, engine.snapshot.fields)

    def like(self, settings: Settings, fields: Mapping[str, FieldSpec]) -> bool:
        """Whether the rows are what these would make."""
        return (self.settings.answering_as(settings), self.fields) == (settings, fields)


def carried(asked: Settings, seen: Settings, now: Settings) -> Settings:
    """What was asked of an index that had the settings `seen`, where they are `now` others.

    Of those that no row depends on, whatever nobody asked to change is as it is now.
    """
    kept = [name for name in ANSWERING if getattr(asked, name) == getattr(seen, name)]
    return replace(asked, **{name: getattr(now, name) for name in kept})


def settled(engine: Engine, settings: Settings, start: Made) -> Settings:
    """`settings`, with what others committed since `start`; nobody may write meanwhile.

    Raises ModelMismatch where the index has been encoded anew.
    """
    engine.refresh()
    if not start.like(engine.settings, engine.snapshot.fields):
        raise ModelMismatch(
            f"{engine.path} was encoded anew by another process meanwhile; look at it (`searchlib "
            "info`) and, if need be, begin again"
        )
    return carried(settings, start.settings, engine.settings)


def begun(
    engine: Engine,
    settings: Settings,
    fields: Mapping[str, FieldSpec],
    open_new: Callable[[Path], Engine],
) -> Engine | None:
    """The successor as far as it has come; None where none was begun, or one has taken over.

    Raises BadInput where one of other settings or models was begun.
    """
    try:
        successor = open_new(engine.folder / FOLDER)
    except NoIndex:
        return None
    made = Made.of(successor)
    if made.like(settings, fields):
        return successor
    successor.close()
    if made.like(engine.settings, engine.snapshot.fields):
        return None
    raise BadInput(
        f"{engine.path}: a re-encoding with other settings or models was begun; finish that one "
        "first, or give it up (--abandon)"
    )


def splitter_of(engine: Engine) -> Splitter:
    """How an index's documents were cut; where that is unknown, one that cuts nothing."""
    try:
        return engine.splitter()
    except (ModelMismatch, ModelNotFound, UnsupportedModel):
        return lambda document: []


def follow(
    source: Snapshot, pipeline: Pipeline, writer: Writer, on_progress: Progress
) -> AddReport:
    """Make the successor, as `writer` and `pipeline` have it, hold the documents of `source`."""
    total = max(source.n_documents - pipeline.snapshot.n_documents, 0)
    report = pipeline.add_hashed(
        writer, different(source, pipeline.snapshot), on_progress=on_progress, total=total or None
    )
    for ids in gone(source, pipeline.snapshot):
        writer.delete(ids)
    writer.commit()
    return report


def different(source: Snapshot, successor: Snapshot) -> Iterator[tuple[list[Hashed], int]]:
    """The documents of `source` that the successor lacks or has otherwise, with their hashes."""
    ids = source.all_ids()
    while some := list(islice(ids, IDS_AT_ONCE)):
        hashes, done = source.hashes(some), successor.hashes(some)
        wanted = [id for id in some if done.get(id) != hashes[id]]
        for start in range(0, len(wanted), AT_ONCE):
            numbers = source.lookup(wanted[start : start + AT_ONCE])
            records = source.records(numbers)
            yield [(Document(r.id, r.text, r.title, r.metadata), r.hash) for r in records], 0


def gone(source: Snapshot, successor: Snapshot) -> Iterator[list[str]]:
    """The ids of documents that the successor has and `source` does not."""
    ids = successor.all_ids()
    while some := list(islice(ids, IDS_AT_ONCE)):
        there = source.hashes(some)
        yield [id for id in some if id not in there]


def patient_writer(path: Path) -> Writer:
    """The index's writer, as soon as nobody else is; Locked after a minute."""
    started = time.monotonic()
    while True:
        try:
            return Writer.open(path)
        except Locked:
            if time.monotonic() - started > PATIENCE:
                raise
        time.sleep(0.2)


def discard(folder: Path) -> None:
    """Remove a successor, or what is left of one, if there is one.

    Raises Locked where a process is at work on it.
    """
    if not folder.is_dir():
        return
    with FileDirectory(folder).lock():
        (folder / MANIFEST).unlink(missing_ok=True)  # first: half of an index is none
        shutil.rmtree(folder, ignore_errors=True)
