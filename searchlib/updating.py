"""Metadata changed without encoding anything: documents keep their text, rows and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from indexes.metadata import MAX_DEPTH
from indexes.snapshot import Snapshot
from indexes.types import Update
from indexes.writer import Writer

from .errors import BadInput, shown
from .intake import SeenIds, storable_hash
from .types import Document

CHUNK = 1000  # documents read and written together

Metadata = dict[str, Any]
Edit = Callable[[Metadata, Mapping[str, Any]], Metadata]


@dataclass(frozen=True)
class UpdateReport:
    """What became of the documents whose metadata were to change."""

    updated: int = 0
    unchanged: int = 0  # they had these metadata already
    missing: tuple[str, ...] = ()  # ids that no document has


def patched(metadata: Metadata, changes: Mapping[str, Any]) -> Metadata:
    """Metadata with some keys set, and those that are to be None removed; objects key by key.

    A JSON merge patch (RFC 7396, Hoffman and Snell 2014): an object of the patch makes one where
    none is, even if it only removes keys.

    >>> patched({"year": 1999, "draft": True, "by": {"name": "Ann"}},
    ...         {"year": 2020, "draft": None, "by": {"city": "Bonn"}})
    {'year': 2020, 'by': {'name': 'Ann', 'city': 'Bonn'}}
    """
    result = dict(metadata)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = patched(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


def replaced(metadata: Metadata, changes: Mapping[str, Any]) -> Metadata:
    """The new metadata, whatever the old ones were."""
    return dict(changes)


def update_metadata(
    writer: Writer,
    snapshot: Snapshot,
    changes: Iterable[tuple[str, Mapping[str, Any]]],
    edit: Edit,
) -> UpdateReport:
    """Apply `edit` to the metadata of each document and what is given for it; no commit.

    `snapshot` is of the writer's last commit, and the writer has no other changes yet.

    Raises:
        BadInput: an id stands twice, or new metadata are not JSON.
    """
    report = UpdateReport()
    with closing(SeenIds()) as seen:
        for chunk in _chunks(changes):
            for pair in chunk:
                if not _is_change(pair):
                    raise BadInput(
                        f"changes must be pairs of an id, a text, and a dict, not {shown(pair)}"
                    )
            if repeated := seen.repeated([(id, "") for id, _ in chunk]):
                id = chunk[min(repeated)][0]
                raise BadInput(f"id {id!r} is given twice; give all its changes at once")
            report = _update_chunk(writer, snapshot, dict(chunk), edit, report)
    return report


def _is_change(pair: object) -> bool:
    return (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], Mapping)
    )


def _update_chunk(
    writer: Writer,
    snapshot: Snapshot,
    changes: Mapping[str, Mapping[str, Any]],
    edit: Edit,
    report: UpdateReport,
) -> UpdateReport:
    documents = snapshot.lookup(list(changes))
    there = documents >= 0
    updates = []
    for record in snapshot.records(documents[there]):
        try:
            metadata = edit(record.metadata, changes[record.id])
            hash = storable_hash(Document(record.id, record.text, record.title, metadata))
        except RecursionError:
            depth = f"nested more than {MAX_DEPTH} levels deep"
            raise BadInput(f"the changes of {record.id!r} are {depth}") from None
        except ValueError as error:
            raise BadInput(str(error)) from None
        if hash != record.hash:
            updates.append(Update(record.id, metadata, hash))
    updated = writer.update(updates)
    return replace(
        report,
        updated=report.updated + updated,
        unchanged=report.unchanged + int(there.sum()) - updated,
        missing=(
            *report.missing,
            *(id for id, known in zip(changes, there, strict=True) if not known),
        ),
    )


def _chunks(
    changes: Iterable[tuple[str, Mapping[str, Any]]],
) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    rest = iter(changes)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
