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


def problems_of(path: Path, on_progress: Progress) -> list[str]:
    """What is wrong with the last commit of the index in folder `path`, with what `sync`
    remembers and with recorded figures, one line each; everything is read.

    Raises NoIndex, UnsupportedFormat, StorageFailed.
    """
    try:
        found = verify_last(path, on_progress)
        if not found:
            with Snapshot.open(path) as snapshot:
                recorded_settings(snapshot, path)
    except Damaged as error:  # the manifest
        found = [str(error)]
    return [*found, *claims.problems(path), *records.problems(path)]
