"""The columns of a segment's documents as one commit has them.

They come from the file that was written with the segment, or, where there is none (few documents,
or an index of an earlier day) or a field was left out, from the metadata itself; then what changed
since is put in place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from functools import cached_property

import numpy as np

from .column_building import Chunk, Part, build_columns, combined, combined_columns
from .column_file import ColumnFile
from .columns import Column, Columns, Field, Integers, Values, empty_column, make_column, same
from .errors import Damaged
from .filter_sql import OWN
from .store import Store

CHUNK = 20_000  # documents whose metadata are held while columns are made
REMEMBERED = 64  # columns


class DocumentColumns:
    """Columns of a store, of what changed since (a store, or None), from a file if there is one.

    Every method raises Damaged, naming the file, where that is not what it should be.
    """

    def __init__(
        self, store: Store, changes: Store | None, file: ColumnFile | None, n_documents: int
    ) -> None:
        self._store, self._changes, self._n_documents = store, changes, n_documents
        self._file = file
        self._known: OrderedDict[Field, Column] = OrderedDict()

    def of(self, field: Field) -> Column:
        """The column of a field (of metadata, or id or title), found once and remembered."""
        column = self._known.get(field)
        if column is None:
            column = self._own(field) if field in OWN else self._found(field)
            self._known[field] = column
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return column

    def all(self) -> Columns:
        """The columns of all fields of metadata, but for what is left out."""
        columns = self._made if self._file is None else self._file.all()
        if self._changes is None:
            return columns
        old, new = self._numbers
        return combined_columns(self._n_documents, [Part(columns, old), Part(self._newer, new)])

    def problems(self) -> list[str]:
        """Where the file does not say what the metadata do."""
        if self._file is None:
            return []
        stored, n = self._file.all(), self._n_documents
        made = self._build(self._store_only(), stored.by_field.keys())
        agree = all(
            same(column, made.by_field.get(field) or empty_column(n))
            for field, column in stored.by_field.items()
        )
        if stored.left_out is not None:
            there = self._build(self._store_only(), None).by_field.keys()
            agree = agree and there <= stored.by_field.keys() | stored.left_out
        if agree:
            return []
        return [f"{self._file.name}: disagrees with the metadata in {self._store.path.name}"]

    def _found(self, field: Field) -> Column:
        """A column of metadata."""
        n = self._n_documents
        column = self._made.get(field, n) if self._file is None else self._file.get(field)
        if column is not None and self._changes is None:
            return column
        newer = self._newer.get(field, n) if column is not None else None
        if column is None or newer is None:  # left out: made of the metadata
            found = self._build(self._texts(), {field}).get(field, n)
            assert found is not None
            return found
        old, new = self._numbers
        return combined(n, [(column, old), (newer, new)])

    def _own(self, field: Field) -> Column:
        documents, texts = self._store.own(field[0])
        different = list(dict.fromkeys(texts))
        values = Values.of([], [text.encode() for text in different], [], moments=False)
        code = dict(zip(different, range(len(different)), strict=True))
        codes = np.fromiter(map(code.__getitem__, texts), np.int64, len(texts))
        return make_column(self._n_documents, values, documents, codes, documents)

    @cached_property
    def _made(self) -> Columns:
        """What a file would hold."""
        return self._build(self._store_only(), None)

    @cached_property
    def _newer(self) -> Columns:
        """The columns of the changed documents."""
        assert self._changes is not None
        return self._build(_chunks(self._changes, self._n_documents), None)

    @cached_property
    def _numbers(self) -> tuple[Integers, Integers]:
        """The numbers of unchanged and of changed documents, -1 for the others; see `Part`."""
        assert self._changes is not None
        every = np.arange(self._n_documents)
        changed = np.zeros(self._n_documents, np.bool_)
        changed[self._changes.ordinals()] = True
        return np.where(changed, -1, every), np.where(changed, every, -1)

    def _store_only(self) -> Iterator[Chunk]:
        return _chunks(self._store, self._n_documents)

    def _texts(self) -> Iterator[Chunk]:
        """The metadata of all documents as they are now."""
        if self._changes is None:
            yield from self._store_only()
            return
        unchanged = self._numbers[0] >= 0
        for documents, texts in self._store_only():
            kept = unchanged[documents]
            yield documents[kept], [t for t, keep in zip(texts, kept, strict=True) if keep]
        yield from _chunks(self._changes, self._n_documents)

    def _build(self, chunks: Iterator[Chunk], only: Collection[Field] | None) -> Columns:
        try:
            return build_columns(self._n_documents, chunks, only)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise Damaged(f"{self._store.path}: metadata cannot be read ({error!r})") from error


def _chunks(store: Store, n_documents: int) -> Iterator[Chunk]:
    for start in range(0, n_documents, CHUNK):
        yield store.metadata(start, start + CHUNK)
