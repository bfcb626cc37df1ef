"""What the user gave, one SQLite file a segment: ids, titles, metadata, texts, passages.

Written once through sqlite-utils, then opened immutable with the standard library's sqlite3.

    documents(ordinal PRIMARY KEY, id UNIQUE, title, metadata JSON, hash)
    texts(ordinal PRIMARY KEY, text)            apart, so that filters do not read through texts
    passages(ordinal PRIMARY KEY, document, start, "end")           characters of the text

SQLite holds text as UTF-8, which has no lone surrogates: each becomes U+FFFD, one character for
one, so that offsets stay true.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged, StorageFailed
from .stored import is_a, only_tables, within
from .types import Record

_CHUNK = 500  # ids bound to one statement
MAX_DEPTH = 100  # nesting of metadata; SQLite's JSON functions refuse more than 1000
_SURROGATES = re.compile("[\ud800-\udfff]")
_TABLES = ("documents", "texts", "passages")


def storable(text: str) -> str:
    """`text` with U+FFFD in place of lone surrogates, which UTF-8 cannot express."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as JSON text; ValueError for what JSON (or SQLite's reading of it) cannot hold."""
    if not metadata:
        return "{}"
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata is not JSON: {error}") from error
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(metadata) > MAX_DEPTH:
        raise ValueError(f"metadata is nested more than {MAX_DEPTH} levels deep")
    return storable(text)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [
        member
        for container in level
        if isinstance(container, dict | list | tuple)
        for member in (container.values() if isinstance(container, dict) else container)
    ]:
        depth += 1
    return depth


# --- writing


def write_store(path: Path, records: Sequence[Record]) -> None:
    """Write the store of a segment whose documents are `records`, in order.

    Raises StorageFailed where SQLite cannot write.
    """
    write_columns(
        path,
        ((r.id, storable(r.title), metadata_json(r.metadata), r.hash) for r in records),
        (storable(record.text) for record in records),
        (
            (document, start, end)
            for document, record in enumerate(records)
            for start, end in record.passages
        ),
    )


def write_columns(
    path: Path,
    documents: Iterable[tuple[str, str, str, bytes]],
    texts: Iterable[str],
    passages: Iterable[tuple[int, int, int]],
) -> None:
    """Write a store; see `write_store`.

    documents: id, title, metadata as JSON, and hash of each; texts: of each; all storable.
    passages: document, start, end of each, documents ascending.
    """
    with _writing(path) as database:
        _tables(database)
        # subtle: not by sqlite-utils, which takes ten times as long for the same rows
        rows = database.conn.executemany
        rows("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", _numbered(documents))
        rows("INSERT INTO texts VALUES (?, ?)", enumerate(texts))
        rows("INSERT INTO passages VALUES (?, ?, ?, ?)", _numbered(passages))
        database["documents"].create_index(["id"], unique=True)


def _numbered(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    return ((number, *row) for number, row in enumerate(rows))


def merge_stores(path: Path, parts: Sequence[tuple[Path, NDArray[np.bool_]]]) -> None:
    """Write the store of the kept documents of `parts`, in order; memory stays small.

    Each part is a store's path and which of its documents to keep, bool (n_documents,).
    """
    with _writing(path) as database:
        _tables(database)
        connection = database.conn
        documents = passages = 0
        for source, keep in parts:
            old = np.flatnonzero(keep).tolist()
            new = range(documents, documents + len(old))
            connection.execute("ATTACH ? AS source", (_uri(source),))
            connection.execute("CREATE TEMP TABLE kept (old INTEGER PRIMARY KEY, new INTEGER)")
            connection.executemany("INSERT INTO kept VALUES (?, ?)", zip(old, new, strict=True))
            connection.execute(
                "INSERT INTO documents SELECT new, id, title, metadata, hash"
                " FROM kept JOIN source.documents AS d ON d.ordinal = old ORDER BY new"
            )
            connection.execute(
                "INSERT INTO texts SELECT new, text"
                " FROM kept JOIN source.texts AS t ON t.ordinal = old ORDER BY new"
            )
            moved = connection.execute(
                "INSERT INTO passages"
                ' SELECT ? - 1 + row_number() OVER (ORDER BY p.ordinal), new, start, "end"'
                " FROM source.passages AS p JOIN kept ON p.document = old",
                (passages,),
            )
            passages += moved.rowcount
            documents += len(old)
            connection.execute("DROP TABLE kept")
            connection.commit()
            connection.execute("DETACH source")
        try:
            database["documents"].create_index(["id"], unique=True)
        except sqlite3.IntegrityError as error:
            raise Damaged(f"{parts[0][0]}: merged stores have one id twice") from error


def _tables(database: Any) -> None:
    database["documents"].create(
        {"ordinal": int, "id": str, "title": str, "metadata": str, "hash": bytes}, pk="ordinal"
    )
    database["texts"].create({"ordinal": int, "text": str}, pk="ordinal")
    database["passages"].create(
        {"ordinal": int, "document": int, "start": int, "end": int}, pk="ordinal"
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Any]:
    """A sqlite-utils database to fill. No journal: an unfinished file is thrown away."""
    import sqlite_utils

    try:
        connection = sqlite3.connect(path.absolute().as_uri(), uri=True)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA temp_store = FILE")
            yield sqlite_utils.Database(connection)
            connection.commit()
        finally:
            connection.close()
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise StorageFailed(f"cannot write {path}: {error}; is there space left?") from error


# --- reading


def _uri(path: Path) -> str:
    return path.absolute().as_uri() + "?mode=ro&immutable=1"


class Store:
    """An open store. Documents are named by their ordinals, 0 to n_documents - 1.

    Every method raises Damaged, naming the file, where that is not what it should be.
    """

    def __init__(self, path: Path, n_documents: int) -> None:
        self.path = path
        self._n_documents = n_documents
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(_uri(path), uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise Damaged(f"{path}: cannot be opened: {error}") from error
        if self._query(only_tables(*_TABLES)) != [(len(_TABLES),)]:
            self.close()
            raise Damaged(f"{path}: lacks one of the tables {', '.join(_TABLES)}")

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

    def filter(self, condition: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which documents meet an SQL condition on `documents`, bool (n_documents,)."""
        bound = [storable(value) if isinstance(value, str) else value for value in values]
        rows = self._query(f"SELECT ordinal FROM documents WHERE {condition}", bound)
        chosen = np.zeros(self._n_documents, np.bool_)
        with self._damage_named():
            chosen[np.fromiter((row[0] for row in rows), np.int64, len(rows))] = True
        return chosen

    def problems(self) -> list[str]:
        """What SQLite's own integrity check finds, and passages that belong to no document."""
        try:
            found = [row[0] for row in self._query("PRAGMA integrity_check(10)") if row[0] != "ok"]
            if self._query(
                "SELECT 1 FROM documents WHERE ordinal NOT IN (SELECT ordinal FROM texts) LIMIT 1"
            ):
                found.append("a document has no text")
            if self._query("SELECT 1 FROM documents WHERE NOT json_valid(metadata) LIMIT 1"):
                found.append("metadata that is not JSON")
        except Damaged as error:
            return [str(error)]
        return [f"{self.path}: {' '.join(problem.split())}" for problem in found]

    def bounds(self) -> list[tuple[int, int, int]]:
        """(document, first passage, number of passages), by document."""
        return self._query(
            "SELECT document, min(ordinal), count(*) FROM passages GROUP BY document"
            " ORDER BY document"
        )

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            raise Damaged(f"{self.path}: its tables contradict each other ({error!r})") from error

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except sqlite3.ProgrammingError:  # ours: closed, or wrongly bound
            raise
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise Damaged(f"{self.path}: cannot be read: {error}") from error
