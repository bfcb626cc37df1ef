"""Makes the SQLite files of stores (see `store`), and one of several, through sqlite-utils."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged, StorageFailed
from .interrupts import heed, raised
from .refusals import refused_by
from .store import read_only


def write_tables(
    path: Path,
    documents: Iterable[tuple[str, str, str, bytes]],
    texts: Iterable[str],
    passages: Iterable[tuple[int, int, int]],
) -> None:
    """Write a store. Raises StorageFailed where SQLite cannot write.

    documents: id, title, metadata as JSON, and hash of each; texts: of each; all storable.
    passages: document, start, end of each, documents ascending.
    """
    with filling(path) as database:
        _tables(database)
        # subtle: not by sqlite-utils, which takes ten times as long for the same rows
        rows = database.conn.executemany
        rows("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", _numbered(documents))
        rows("INSERT INTO texts VALUES (?, ?)", enumerate(texts))
        rows("INSERT INTO passages VALUES (?, ?, ?, ?)", _numbered(passages))
        database["documents"].create_index(["id"], unique=True)


def _numbered(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    return ((number, *row) for number, row in enumerate(rows))


class Source(NamedTuple):
    """What a store is merged from: its path, what to keep, and the path of its changes."""

    store: Path
    keep: NDArray[np.bool_]  # (n_documents,)
    changes: Path | None = None


def merge_stores(path: Path, sources: Sequence[Source]) -> None:
    """Write the store of the kept documents of `sources`, in order; memory stays small."""
    with filling(path) as database:
        _tables(database)
        connection = database.conn
        documents = passages = 0
        for source in sources:
            old = np.flatnonzero(source.keep).tolist()
            new = range(documents, documents + len(old))
            connection.execute("ATTACH ? AS source", (read_only(source.store),))
            connection.execute("CREATE TEMP TABLE kept (old INTEGER PRIMARY KEY, new INTEGER)")
            connection.executemany("INSERT INTO kept VALUES (?, ?)", zip(old, new, strict=True))
            _merge_documents(connection, source.changes)
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
            raise Damaged(f"{sources[0].store}: merged stores have one id twice") from error


def _merge_documents(connection: sqlite3.Connection, changes: Path | None) -> None:
    """Move the documents of the attached `source` that the table `kept` numbers, as changed."""
    columns, joined = "metadata, hash", ""
    if changes is not None:
        connection.execute("ATTACH ? AS changes", (read_only(changes),))
        columns = "coalesce(c.metadata, d.metadata), coalesce(c.hash, d.hash)"
        joined = " LEFT JOIN changes.documents AS c ON c.ordinal = old"
    connection.execute(
        f"INSERT INTO documents SELECT new, d.id, d.title, {columns}"
        f" FROM kept JOIN source.documents AS d ON d.ordinal = old{joined} ORDER BY new"
    )
    if changes is not None:
        connection.commit()
        connection.execute("DETACH changes")


def _tables(database: Any) -> None:
    database["documents"].create(
        {"ordinal": int, "id": str, "title": str, "metadata": str, "hash": bytes}, pk="ordinal"
    )
    database["texts"].create({"ordinal": int, "text": str}, pk="ordinal")
    database["passages"].create(
        {"ordinal": int, "document": int, "start": int, "end": int}, pk="ordinal"
    )


@contextlib.contextmanager
def filling(path: Path) -> Iterator[Any]:
    """A sqlite-utils database to fill. No journal: an unfinished file is thrown away."""
    import sqlite_utils

    try:
        connection = sqlite3.connect(path.absolute().as_uri(), uri=True)
        try:
            heed(connection)
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA temp_store = FILE")
            with raised():
                yield sqlite_utils.Database(connection)
                connection.commit()
        finally:
            connection.close()
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        reason = refused_by(error) or f"{error}; is there space left?"
        raise StorageFailed(f"cannot write {path}: {reason}") from error
