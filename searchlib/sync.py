"""An index follows a folder: what changed is indexed anew, what vanished is removed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from indexes.snapshot import Snapshot
from indexes.writer import Writer

from .claims import Claim, Claims
from .following import FolderSync, words_of
from .indexing import AddReport, Pipeline
from .intake import checked
from .protocols import Progress

REMOVING = "removing"  # a progress note


@dataclass(frozen=True)
class SyncReport(AddReport):
    """What became of a folder's documents, and how many vanished with their files."""

    removed: int = 0


def sync_folder(
    run: FolderSync,
    claims: Claims,
    writer: Writer,
    pipeline: Pipeline,
    on_progress: Progress,
) -> SyncReport:
    """Make the index say what the folder says.

    Raises:
        BadInput: a file cannot be read, unless bad ones are skipped; or nothing is left of what
            the folder once held, and that was not allowed.
    """
    earlier = replace(pipeline.earlier, twins=claims.twins)
    pipeline = replace(pipeline, earlier=earlier, before_commit=claims.commit)
    chunks = checked(run.documents(), False, _never)
    added = pipeline.add_hashed(writer, chunks, on_progress=on_progress, total=None)
    run.check_not_emptied(added.documents)
    removed = 0
    gone: list[Claim] = []
    for some in run.vanished():
        on_progress(added.documents, None, REMOVING)
        removed += writer.delete(_still_ours(some, pipeline.snapshot))
        gone += some
    writer.commit()
    for claim in gone:
        claims.withdraw(claim)
    name = os.fsencode(run.folder)
    for file in run.vanished_files():
        claims.forget_file(name, file)
    claims.settle()
    claims.commit()
    known = run.known if pipeline.passage_encoders else 0
    return _report(run, replace(added, known=added.known + known), removed)


def compare_folder(run: FolderSync, snapshot: Snapshot) -> SyncReport:
    """What `sync_folder` would do, without doing it; nothing is encoded. The run's claims are a
    copy.

    Raises:
        BadInput: as `sync_folder`.
    """
    added = updated = unchanged = 0
    for chunk, _ in checked(run.documents(), False, _never):
        known = snapshot.hashes([document.id for document, _ in chunk])
        unchanged += sum(known.get(document.id) == hash for document, hash in chunk)
        added += sum(document.id not in known for document, _ in chunk)
        updated += sum(known.get(document.id, hash) != hash for document, hash in chunk)
    run.check_not_emptied(added + updated + unchanged)
    removed = 0
    for some in run.vanished():
        removed += len(_still_ours(some, snapshot))
    return _report(run, AddReport(added, updated, unchanged), removed)


def _still_ours(claims: Sequence[Claim], snapshot: Snapshot) -> list[str]:
    """The ids of documents that are as claimed, whatever became of their metadata.

    The others are gone, or somebody else added another document under that id since.
    """
    hashes = snapshot.hashes([claim.id for claim in claims])
    return [
        claim.id
        for claim in claims
        if hashes.get(claim.id) == claim.hash
        or words_of(snapshot, [claim.id]) == [claim.words]  # one by one: texts may be large
    ]


def _report(run: FolderSync, added: AddReport, removed: int) -> SyncReport:
    return SyncReport(
        added=added.added,
        updated=added.updated,
        unchanged=added.unchanged + run.unchanged,
        skipped=added.skipped + run.skipped,
        passages=added.passages,
        encoded=added.encoded,
        known=added.known,
        seconds=time.monotonic() - run.started,
        removed=removed,
    )


def _never(problem: str) -> None:
    raise AssertionError(problem)  # what is bad was not let through
