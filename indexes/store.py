"""What the user gave, one SQLite file a segment: ids, titles, metadata, texts, passages.

Written once through sqlite-utils, then opened immutable with the standard library's sqlite3.

    documents(ordinal PRIMARY KEY, id UNIQUE, title, metadata JSON, hash)
    texts(ordinal PRIMARY KEY, text)            apart, so that filters do not read through texts
    passages(ordinal PRIMARY KEY, document, start, "end")           characters of the text

SQLite holds text as UTF-8, which has no lone surrogates: each becomes U+FFFD, one character for
one, so that offsets stay true. Metadata that changed since is in a file of its own: `changes`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Closed, Damaged
from .excerpts import read_excerpts
from .forking import forkable_lock
from .interrupts import heed, raised
from .metadata import storable
from .moments import with_moments
from .stored import is_a, only_tables, within
from .types import Excerpt, Record

_CHUNK = 500  # ids bound to one statement
TABLES = ("documents", "texts", "passages")

_connecting = forkable_lock()  # SQLite has locks of its own for the process, which forks copy


def read_only(path: Path) -> str:
    """The URI by which SQLite opens a file that never changes."""
    return path.absolute().as_uri() + "?mode=ro&immutable=1"


class Store:
    """An open store. Documents are named by their ordinals, 0 to n_documents - 1.

    Every method raises Damaged, naming the file, where that is not what it should be.
    """

    def __init__(self, path: Path, n_documents: int, tables: Sequence[str] = TABLES) -> None:
        self.path = path
        self._n_documents = n_documents
        self._lock = forkable_lock()
        try:
            with _connecting:
                opened = sqlite3.connect(read_only(path), uri=True, check_same_thread=False)
            self._connection = with_moments(opened)
            heed(self._connection)
        except sqlite3.Error as error:
            raise Damaged(f"{path}: cannot be opened: {error}") from error
        weakref.finalize(self, self._connection.close).atexit = False
        if self._query(only_tables(*tables)) != [(len(tables),)]:
            self.close()
            raise Damaged(f"{path}: lacks one of the tables {', '.join(tables)}")

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def counts(self) -> tuple[int, int]:
        """How many documents and passages there are."""
        [(documents,)] = self._query("SELECT count(*) FROM documents")
        [(passages,)] = self._query("SELECT count(*) FROM passages")
        return documents, passages

    def ids(self, ordinals: NDArray[np.int64]) -> list[str]:
        """The ids of documents, in the order asked for."""
        sql = "SELECT ordinal, id FROM documents WHERE ordinal IN (SELECT value FROM json_each(?))"
        found = dict(self._query(sql, (json.dumps(ordinals.tolist()),)))
        with self._damage_named():
            return [is_a(str, found[ordinal]) for ordinal in ordinals.tolist()]

    def all_ids(self) -> list[str]:
        """Every document's id, by ordinal."""
        rows = self._query("SELECT id FROM documents ORDER BY ordinal")
        with self._damage_named():
            return [is_a(str, row[0]) for row in rows]

    def find(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """{id: (ordinal, hash)} of those ids that are here."""
        known = [id for id in ids if storable(id) == id]
        found: dict[str, tuple[int, bytes]] = {}
        for start in range(0, len(known), _CHUNK):
            chunk = known[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            sql = f"SELECT id, ordinal, hash FROM documents WHERE id IN ({marks})"
            rows = self._query(sql, chunk)
            with self._damage_named():
                found.update((id, (ordinal, is_a(bytes, hash))) for id, ordinal, hash in rows)
        if not all(ordinal in range(self._n_documents) for ordinal, _ in found.values()):
            raise Damaged(f"{self.path}: numbers documents that are not there")
        return found

    def records(self, ordinals: NDArray[np.int64], first: NDArray[np.int64]) -> list[Record]:
        """The documents, in the order asked for; `first` (n_documents + 1,) bounds passages."""
        places: dict[int, list[tuple[int, int]]] = {}
        ranges = [range(first[i], first[i + 1]) for i in ordinals.tolist()]
        for document, start, end in self._query(
            'SELECT document, start, "end" FROM passages'
            " WHERE ordinal IN (SELECT value FROM json_each(?)) ORDER BY ordinal",
            (json.dumps(list({passage for passages in ranges for passage in passages})),),
        ):
            places.setdefault(document, []).append((start, end))
        rows = self._query(
            "SELECT ordinal, id, title, text, metadata, hash FROM documents JOIN texts"
            " USING (ordinal) WHERE ordinal IN (SELECT value FROM json_each(?))",
            (json.dumps(ordinals.tolist()),),
        )
        with self._damage_named():
            found = {
                ordinal: Record(
                    is_a(str, id),
                    is_a(str, title),
                    is_a(str, text),
                    is_a(dict, json.loads(meta)),
                    is_a(bytes, hash),
                    tuple(within(len(text), *place) for place in places[ordinal]),
                )
                for ordinal, id, title, text, meta, hash in rows
            }
            if any(len(places[i]) != first[i + 1] - first[i] for i in ordinals.tolist()):
                raise ValueError("passages of another document")
            return [found[ordinal] for ordinal in ordinals.tolist()]

    def excerpts(
        self, passages: NDArray[np.int64], first: NDArray[np.int64], longest: int
    ) -> list[Excerpt]:
        """The first `longest` characters of each passage, and whose they are; see `records`."""
        with self._damage_named():
            return read_excerpts(self._query, passages, first, longest)

    def contents(self, ordinals: NDArray[np.int64]) -> dict[int, tuple[dict[str, Any], bytes]]:
        """{ordinal: (metadata, hash)} of those documents that are here."""
        rows = self._query(
            "SELECT ordinal, metadata, hash FROM documents"
            " WHERE ordinal IN (SELECT value FROM json_each(?))",
            (json.dumps(ordinals.tolist()),),
        )
        with self._damage_named():
            return {ordinal: (json.loads(metadata), hash) for ordinal, metadata, hash in rows}

    def own(self, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """All documents whose `id` or `title` is not empty, and these texts, ascending."""
        some = f"{column} <> '' ORDER BY {column}"
        return self._pairs(f"SELECT ordinal, {column} FROM documents WHERE {some}")

    def metadata(self, start: int, stop: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Those of documents start to stop - 1 that have metadata, and these as JSON."""
        return self._pairs(
            "SELECT ordinal, metadata FROM documents"
            " WHERE ordinal >= ? AND ordinal < ? AND metadata <> '{}' ORDER BY ordinal",
            (start, stop),
        )

    def ordinals(self) -> NDArray[np.int64]:
        """Of the documents that are here, ascending."""
        return self._pairs("SELECT ordinal, '' FROM documents ORDER BY ordinal")[0]

    def first_by_id(self, chosen: NDArray[np.bool_], k: int, *, descending: bool) -> list[int]:
        """The first k of the chosen documents, bool (n_documents,), in order of their ids."""
        sql = f"SELECT ordinal FROM documents ORDER BY id{' DESC' if descending else ''}"
        marks, found = chosen.tolist(), list[int]()
        with self._damage_named(), self._reading(), self._lock:
            for (ordinal,) in self._connection.execute(sql):
                if len(found) == k:
                    break
                if marks[ordinal]:
                    found.append(ordinal)
        return found

    def filter(self, condition: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which documents meet an SQL condition on `documents`, bool (n_documents,)."""
        bound = [storable(value) if isinstance(value, str) else value for value in values]
        rows = self._query(f"SELECT ordinal FROM documents WHERE {condition}", bound)
        chosen = np.zeros(self._n_documents, np.bool_)
        with self._damage_named():
            chosen[np.fromiter((row[0] for row in rows), np.int64, len(rows))] = True
        return chosen

    def problems(self) -> list[str]:
        """What SQLite's own integrity check finds, and metadata that is not JSON."""
        try:
            found = [row[0] for row in self._query("PRAGMA integrity_check(10)") if row[0] != "ok"]
            if self._query("SELECT 1 FROM documents WHERE NOT json_valid(metadata) LIMIT 1"):
                found.append("metadata that is not JSON")
        except Damaged as error:
            return [str(error)]
        return [f"{self.path}: {' '.join(problem.split())}" for problem in found]

    def all_have_texts(self) -> bool:
        """Whether each document has a text."""
        lacking = "ordinal NOT IN (SELECT ordinal FROM texts)"
        return not self._query(f"SELECT 1 FROM documents WHERE {lacking} LIMIT 1")

    def bounds(self) -> list[tuple[int, int, int]]:
        """(document, first passage, number of passages), by document."""
        counted = "SELECT document, min(ordinal), count(*) FROM passages"
        return self._query(f"{counted} GROUP BY document ORDER BY document")

    def _pairs(
        self, sql: str, values: Sequence[Any] = ()
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """What a query finds: ordinals and texts."""
        rows = self._query(sql, values)
        with self._damage_named():
            ordinals, texts = zip(*rows, strict=True) if rows else ((), ())
            if not {int} >= set(map(type, ordinals)) or not {str} >= set(map(type, texts)):
                raise TypeError("a number or text that is none")
            found = np.array(ordinals, np.int64)
            if len(found) and not 0 <= found.min() <= found.max() < self._n_documents:
                raise ValueError("documents that are not there")
            return found, texts

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            raise Damaged(f"{self.path}: its tables contradict each other ({error!r})") from error

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._reading(), self._lock:
            return self._connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with raised():
                yield
        except sqlite3.ProgrammingError as error:  # ours: closed, or wrongly bound
            if "closed" not in str(error):
                raise
            raise Closed("the index is closed; open it again") from None
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise Damaged(f"{self.path}: cannot be read: {error}") from error
