"""Whether every file of an index is what it was: its own, and what stands beside them."""

from __future__ import annotations

from pathlib import Path

from indexes.errors import Damaged
from indexes.snapshot import Snapshot
from indexes.verification import verify_last

from . import claims
from .evaluation import records
from .protocols import Progress
from .recorded import recorded_settings


def problems_of(path: Path, on_progress: Progress) -> tuple[list[str], list[str]]:
    """What is wrong with the last commit of the index in folder `path`; and with what stands
    beside it, which it does without: what `sync` remembers, recorded figures. One line each;
    everything is read.

    Raises NoIndex, UnsupportedFormat, StorageFailed.
    """
    path = path.absolute()
    try:
        found = verify_last(path, on_progress)
        if not found:
            with Snapshot.open(path) as snapshot:
                recorded_settings(snapshot, path)
    except Damaged as error:  # the manifest
        found = [str(error)]
    return found, [*claims.problems(path), *records.problems(path)]
