"""A segment's documents as one commit has them: the store, and the metadata changed since.

A store is written once. Where metadata is updated, one more SQLite file a segment says so, with
the table `documents` of the changed documents only: whole rows, so that a filter's condition
means the same there. The next commit that changes more writes a new file of all changes; a merge
puts them into the merged store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import map_arrays
from .errors import Damaged
from .store import Store, read_only
from .types import Excerpt, Record

if TYPE_CHECKING:
    from .document_columns import DocumentColumns
    from .filter_columns import Comparison
    from .filters import Filter
    from .store_writing import Source

Change = tuple[str, bytes]  # metadata as JSON, hash


class Documents:
    """An open store and its changes; documents are named by their ordinals.

    Every method raises Damaged, naming the file, where that is not what it should be.
    """

    def __init__(
        self,
        store: Path,
        n_documents: int,
        changes: Path | None = None,
        columns: Path | None = None,
    ) -> None:
        self.n_documents = n_documents
        self.store = Store(store, n_documents)
        self.changes = (
            None if changes is None else Store(changes, n_documents, tables=("documents",))
        )
        # subtle: mapped now, as all files are; later the name may be another commit's, or nobody's
        self._column_arrays = {} if columns is None else map_arrays(columns)
        self._column_path = columns

    @cached_property
    def columns(self) -> DocumentColumns:
        """Its columns, found when they are asked about. Raises Damaged."""
        from .column_file import ColumnFile
        from .document_columns import DocumentColumns

        file = None
        if self._column_path is not None:
            file = ColumnFile(self._column_arrays, self.n_documents, str(self._column_path))
        return DocumentColumns(self.store, self.changes, file, self.n_documents)

    def close(self) -> None:
        """Close the files; no error the second time."""
        self.store.close()
        if self.changes is not None:
            self.changes.close()

    def source(self, keep: NDArray[np.bool_]) -> Source:
        """What a merge takes of these documents; keep: bool (n_documents,)."""
        from .store_writing import Source

        return Source(self.store.path, keep, self.changes.path if self.changes else None)

    def find(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """{id: (ordinal, hash)} of those ids that are here."""
        found = self.store.find(ids)
        if self.changes is not None:
            found.update(self.changes.find(ids))
        return found

    def records(self, ordinals: NDArray[np.int64], first: NDArray[np.int64]) -> list[Record]:
        """The documents, in the order asked for; `first` (n_documents + 1,) bounds passages."""
        records = self.store.records(ordinals, first)
        if self.changes is None:
            return records
        changed = self.changes.contents(ordinals)
        for place in [i for i, ordinal in enumerate(ordinals.tolist()) if ordinal in changed]:
            metadata, hash = changed[int(ordinals[place])]
            records[place] = replace(records[place], metadata=metadata, hash=hash)
        return records

    def excerpts(
        self, passages: NDArray[np.int64], first: NDArray[np.int64], longest: int
    ) -> list[Excerpt]:
        """The first `longest` characters of each passage, and whose they are; see `records`."""
        excerpts = self.store.excerpts(passages, first, longest)
        if self.changes is None:
            return excerpts
        owners = np.searchsorted(first, passages, side="right") - 1
        changed = self.changes.contents(np.unique(owners))
        for place in [i for i, ordinal in enumerate(owners.tolist()) if ordinal in changed]:
            excerpts[place] = excerpts[place]._replace(metadata=changed[int(owners[place])][0])
        return excerpts

    def filter(self, condition: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which documents meet an SQL condition on `documents`, bool (n_documents,)."""
        chosen = self.store.filter(condition, values)
        if self.changes is not None:
            changed = self.changes.filter("TRUE", ())
            chosen[changed] = self.changes.filter(condition, values)[changed]
        return chosen

    def select(self, filter: Filter) -> NDArray[np.bool_]:
        """Which documents a filter selects, bool (n_documents,)."""
        from .filter_columns import combined, selected
        from .filter_sql import OWN, to_sql

        def met(test: Comparison) -> NDArray[np.bool_]:
            if test.field in OWN:
                return self.filter(*to_sql(test))
            return selected(test, self.columns.of(test.field))

        return combined(filter, met)

    def first_by_id(
        self, chosen: NDArray[np.bool_], k: int, descending: bool = False
    ) -> Sequence[int]:
        """The first k of the chosen documents, bool (n_documents,), by id, or the last ones."""
        return self.store.first_by_id(chosen, k, descending=descending)

    def problems(self) -> list[str]:
        """What is wrong with the files, read in full."""
        found = self.store.problems()
        try:
            if not found and not self.store.all_have_texts():
                found.append(f"{self.store.path}: a document has no text")
            if self.changes is not None:
                found += self.changes.problems()
                if not found and not self._agree(self.changes):
                    found.append(f"{self.changes.path}: changes what {self.store.path.name} lacks")
            if not found:
                found += self.columns.problems()
        except Damaged as error:
            found.append(str(error))
        return found

    def _agree(self, changes: Store) -> bool:
        """Whether all that changed is there, under the same number and id."""
        changed = np.flatnonzero(changes.filter("TRUE", ()))
        return changes.ids(changed) == self.store.ids(changed)


def write_changes(path: Path, documents: Documents, changes: Mapping[int, Change]) -> None:
    """Write the file of a store's changes: the former ones, and `changes` by ordinal.

    Raises StorageFailed where SQLite cannot write.
    """
    from .store_writing import filling

    with filling(path) as database:
        connection = database.conn
        connection.execute(
            "CREATE TABLE documents"
            " (ordinal INTEGER PRIMARY KEY, id TEXT, title TEXT, metadata TEXT, hash BLOB)"
        )
        connection.execute("ATTACH ? AS source", (read_only(documents.store.path),))
        connection.execute(
            "CREATE TEMP TABLE changed (ordinal INTEGER PRIMARY KEY, metadata TEXT, hash BLOB)"
        )
        if documents.changes is not None:
            connection.execute("ATTACH ? AS former", (read_only(documents.changes.path),))
            connection.execute(
                "INSERT INTO changed SELECT ordinal, metadata, hash FROM former.documents"
            )
        connection.executemany(
            "INSERT OR REPLACE INTO changed VALUES (?, ?, ?)",
            ((ordinal, *change) for ordinal, change in sorted(changes.items())),
        )
        connection.execute(
            "INSERT INTO documents SELECT ordinal, id, title, c.metadata, c.hash"
            " FROM changed AS c JOIN source.documents AS d USING (ordinal) ORDER BY ordinal"
        )
        connection.execute("CREATE UNIQUE INDEX idx_documents_id ON documents (id)")
