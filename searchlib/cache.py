"""Vectors that encoders made, kept by encoder and text, for one run or in a file for all of them.

A file is shared by indexes and by processes. It is bounded, the oldest vectors going first, and
nothing in it is believed that its checksum, its shape and its numbers do not confirm: what is
damaged is made anew. Losing the file loses time and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import StorageFailed
from indexes.readback import stacked
from indexes.refusals import refused_by
from indexes.types import TermVectors

from .errors import BadInput
from .protocols import Vectors

Found = tuple[NDArray[np.int64], Vectors]
"""Which of the texts asked about are known, places (m,), and their vectors, m rows."""

LIMIT = 4 << 30  # bytes of a file, about
RUN_LIMIT = 256 << 20  # bytes of what one run remembers, on the disk
BUSY_SECONDS = 60.0  # to wait for another process
_SEPARATOR = "\0"  # of terms
OURS = 0x53764331  # SQLite's application id of these files

log = logging.getLogger("searchlib.cache")


class VectorCache:
    """Vectors by encoder and text, in a SQLite file; not for several threads at once.

    `path`: None for a private file that goes with the object. `limit`: about how many bytes it
    may take; the larger, the more is known.

    Raises:
        BadInput: the file is something else, or cannot be opened.
        StorageFailed: the system cannot write it.

    >>> cache = VectorCache(None)
    >>> cache.put("model 1", ["a text"], np.ones((1, 2), np.float32))
    >>> cache.get("model 1", ["another text", "a text"], 2)[0].tolist()
    [1]
    """

    def __init__(self, path: str | Path | None, limit: int = LIMIT) -> None:
        if limit < 1:
            raise BadInput(f"illegal size of a vector cache: {limit} bytes, must be 1 or more")
        self._name = str(path) if path is not None else "a private file"
        self._limit = limit
        self._db: sqlite3.Connection | None = None
        if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
            raise BadInput(f"vector cache {path}: must be a file in a folder that is there")
        try:
            # subtle: the empty name gives SQLite a private temporary file, deleted on close
            target = "" if path is None else str(Path(path).absolute())
            self._db = sqlite3.connect(target, BUSY_SECONDS, isolation_level=None)
            self._prepare(self._db, private=path is None)
        except sqlite3.Error as error:
            self.close()
            if reason := refused_by(error):
                raise StorageFailed(f"cannot write vector cache {self._name}: {reason}") from None
            raise BadInput(
                f"vector cache {self._name}: cannot be used ({error}); name another file, or "
                "remove it: it is made anew"
            ) from None
        except BaseException:
            self.close()
            raise

    def get(self, fingerprint: str, texts: Sequence[str], dimension: int | None) -> Found:
        """Which of the texts an encoder's vectors are known of, and these.

        `dimension`: of its vectors; None for terms. What is of another shape is not known.
        """
        places: list[int] = []
        rows: list[Vectors] = []
        if self._db is not None:
            with self._failing_is_no_matter():
                find = "SELECT vector FROM vectors WHERE key = ?"
                for place, text in enumerate(texts):
                    key = _key(fingerprint, text)
                    found = self._db.execute(find, (key,)).fetchone()
                    row = _unpacked(key, found[0]) if found else None
                    if row is not None and _dimension(row) == dimension:
                        places.append(place)
                        rows.append(row)
        if dimension is not None:
            vectors = [row for row in rows if isinstance(row, np.ndarray)]
            none = np.empty((0, dimension), np.float32)
            return np.array(places, np.int64), np.concatenate([none, *vectors])
        terms = stacked([row for row in rows if isinstance(row, TermVectors)])
        return np.array(places, np.int64), terms

    def put(self, fingerprint: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep the vectors (n rows) of n texts; a full disk or a damaged file costs time only."""
        if self._db is None or not texts:
            return
        keys = [_key(fingerprint, text) for text in texts]
        packed = [(key, _packed(key, vectors, row)) for row, key in enumerate(keys)]
        with self._failing_is_no_matter(), _transaction(self._db) as db:
            insert = "INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)"
            db.executemany(insert, packed)
            self._shrink(db, len(keys))

    def close(self) -> None:
        """Let go of the file; nothing is found or kept any more. No error the second time."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- inside

    def _prepare(self, db: sqlite3.Connection, private: bool) -> None:
        if private:
            db.execute("PRAGMA journal_mode = OFF")
        db.execute("BEGIN")  # subtle: both of one moment, as another process may make the file now
        [number] = db.execute("PRAGMA application_id").fetchone()
        [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        db.execute("COMMIT")
        if tables and number != OURS:
            raise BadInput(f"{self._name} is no vector cache; name another file")
        if not tables:
            with _transaction(db):
                db.execute(f"PRAGMA application_id = {OURS}")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS vectors"
                    " (number INTEGER PRIMARY KEY, key BLOB UNIQUE, vector BLOB)"
                )

    def _shrink(self, db: sqlite3.Connection, added: int) -> None:
        """Forget the oldest vectors until the file's pages in use are within the limit."""
        [page] = db.execute("PRAGMA page_size").fetchone()
        while True:
            [pages] = db.execute("PRAGMA page_count").fetchone()
            [free] = db.execute("PRAGMA freelist_count").fetchone()
            if (pages - free) * page <= self._limit:
                return
            oldest = "SELECT number FROM vectors ORDER BY number LIMIT ?"
            gone = db.execute(f"DELETE FROM vectors WHERE number IN ({oldest})", (added,))
            if gone.rowcount < 1:
                return

    @contextmanager
    def _failing_is_no_matter(self) -> Iterator[None]:
        """Where SQLite fails in the block, work goes on without the file from there on."""
        try:
            yield
        except sqlite3.Error as error:
            log.warning("vector cache %s: %s; going on without it", self._name, error)
            self.close()


def open_cache(path: str | Path | None) -> VectorCache:
    """The cache in a file, or where None is named one that a single run remembers."""
    return VectorCache(path) if path is not None else VectorCache(None, RUN_LIMIT)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _key(fingerprint: str, text: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    name = fingerprint.encode()
    digest.update(len(name).to_bytes(8, "little") + name)
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _checksum(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16, key=key).digest()


def _packed(key: bytes, vectors: Vectors, row: int) -> bytes | None:
    """A row as bytes: checksum, kind, then numbers, and of terms their names before.

    None for a row that cannot be told so: of a term with a NUL in it, which no tokenizer has.
    """
    if isinstance(vectors, np.ndarray):
        body: bytes = b"v" + vectors[row].astype("<f4").tobytes()
    else:
        part = slice(int(vectors.indptr[row]), int(vectors.indptr[row + 1]))
        terms = [vectors.terms[column] for column in vectors.indices[part].tolist()]
        names = _SEPARATOR.join(terms).encode("utf-8", "surrogatepass")
        if terms and names.count(0) != len(terms) - 1:
            return None
        body = b"t" + len(names).to_bytes(4, "little") + names
        body += vectors.values[part].astype("<f4").tobytes()
    return _checksum(key, body) + body


def _unpacked(key: bytes, packed: object) -> TermVectors | NDArray[np.float32] | None:
    """The row, (1, dim) or TermVectors of one; None where it is not what was kept."""
    if not isinstance(packed, bytes) or packed[:16] != _checksum(key, packed[16:]):
        return None
    kind, body = packed[16:17], packed[17:]
    try:
        if kind == b"v":
            vector = np.frombuffer(body, "<f4").astype(np.float32)
            return vector[None] if np.isfinite(vector).all() else None
        names = 4 + int.from_bytes(body[:4], "little")
        weights = np.frombuffer(body[names:], "<f4").astype(np.float32)
        joined = body[4:names].decode("utf-8", "surrogatepass")
    except ValueError:
        return None
    terms = joined.split(_SEPARATOR) if len(weights) else []
    if not len(weights) == len(terms) == len(set(terms)):
        return None
    if not ((weights >= 0) & (weights < np.inf)).all():
        return None
    indptr = np.array([0, len(terms)], np.int64)
    return TermVectors(terms, indptr, np.arange(len(terms), dtype=np.int32), weights)


def _dimension(row: Vectors) -> int | None:
    return row.shape[1] if isinstance(row, np.ndarray) else None
