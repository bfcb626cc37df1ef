"""Which documents of an index came from which folder: what `sync` remembers from run to run.

A SQLite file beside the index's own. It is written before the index's commits and may say too
much after a crash, so it is believed only as far as the index agrees: a document came from a
folder if the index holds it with the title and text that are claimed (its metadata may have been
changed since), and is as its file has it if the content hash is the very one. A claim that takes
another's place keeps what that one said, `before`, until the index is known to be committed.

    files(folder, file, digest)       files that were read to their end, and what they held
    claims(id, folder, file, hash, words, before)  documents, with the file last read from
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from indexes.errors import StorageFailed
from indexes.refusals import refused_by

from .errors import BadInput

FILE = "sync.db"  # in the index's folder
AT_ONCE = 1000  # claims read together
BUSY_SECONDS = 60.0
_WAY_OUT = (
    "remove it: the next sync then reads everything, but no longer knows of what vanished before"
)

_TABLES = """
CREATE TABLE IF NOT EXISTS files
    (folder BLOB, file BLOB, digest BLOB, PRIMARY KEY (folder, file)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims
    (id TEXT PRIMARY KEY, folder BLOB, file BLOB, hash BLOB, words BLOB, before BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_of_folders ON claims (folder, id);
CREATE INDEX IF NOT EXISTS claims_of_contents ON claims (hash);
CREATE INDEX IF NOT EXISTS claims_unsettled ON claims (id) WHERE before != x'';
"""
_SELECT = "SELECT id, folder, file, hash, words, before FROM claims"


@dataclass(frozen=True)
class Claim:
    """Document `id` came from this file of this folder.

    `hash` is that of its content, `words` that of its title and text alone; `before`: the words
    that the index holds instead if it was not committed since, none where it was.
    """

    id: str
    folder: bytes
    file: bytes
    hash: bytes
    words: bytes
    before: bytes = b""


class Claims:
    """The claims of one index; to be written by the holder of its lock only.

    `index`: the index's folder. Changes are kept by `commit`, and gone without it.

    Raises:
        BadInput: the file is damaged.
        StorageFailed: the system cannot write it.
    """

    def __init__(self, index: Path, copy: bool = False) -> None:
        self.path = index / FILE
        with self._damage_told():
            target = ":memory:" if copy else str(self.path.absolute())
            self._db = sqlite3.connect(target, BUSY_SECONDS, isolation_level=None)
        try:
            with self._damage_told():
                if copy and self.path.exists():
                    self._copy()
                # subtle: all or none, or a full disk would leave some of them for good
                self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
                self._db.execute("CREATE TEMP TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        except BaseException:
            self._db.close()
            raise

    @staticmethod
    def copy_of(index: Path) -> Claims:
        """The same in memory: whatever becomes of it, nothing is written."""
        return Claims(index, copy=True)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()

    def commit(self) -> None:
        """Keep what was changed."""
        with self._damage_told():
            if self._db.in_transaction:
                self._db.execute("COMMIT")

    # --- asking

    def digests(self, folder: bytes) -> dict[bytes, bytes]:
        """{file: digest} of the folder's files as they were read to their end."""
        with self._damage_told():
            return dict(self._rows("SELECT file, digest FROM files WHERE folder = ?", folder))

    def of_folder(self, folder: bytes) -> Iterator[list[Claim]]:
        """All claims of a folder, many at once, in order of their ids."""
        last = ""
        sql = f"{_SELECT} WHERE folder = ? AND id > ? ORDER BY id LIMIT ?"
        while True:
            with self._damage_told():
                some = [Claim(*row) for row in self._rows(sql, folder, last, AT_ONCE)]
            if not some:
                return
            yield some
            last = some[-1].id

    def unsettled(self) -> list[Claim]:
        """Some of those, of any folder, of which a sync that was cut short left `before`."""
        with self._damage_told():
            sql = f"{_SELECT} WHERE before != x'' LIMIT ?"
            return [Claim(*row) for row in self._rows(sql, AT_ONCE)]

    def count(self, folder: bytes) -> int:
        """How many documents are claimed for a folder."""
        with self._damage_told():
            [[count]] = self._rows("SELECT count(*) FROM claims WHERE folder = ?", folder)
            return int(count)

    def of(self, id: str) -> Claim | None:
        """Where a document came from."""
        with self._damage_told():
            rows = self._rows(f"{_SELECT} WHERE id = ?", id)
            return Claim(*rows[0]) if rows else None

    def twins(self, hashes: Sequence[bytes]) -> Mapping[bytes, str]:
        """{content hash: the id of a document that had that content}."""
        with self._damage_told():
            find = "SELECT id FROM claims WHERE hash = ? LIMIT 1"
            found = [(hash, self._rows(find, hash)) for hash in hashes]
            return {hash: str(rows[0][0]) for hash, rows in found if rows}

    def seen(self, id: str) -> bool:
        """Whether a document was met before in this run; from now on it was."""
        with self._damage_told():
            self._begin()
            return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (id,)).rowcount == 0

    def was_seen(self, id: str) -> bool:
        """Whether a document was met in this run."""
        with self._damage_told():
            return bool(self._rows("SELECT 1 FROM seen WHERE id = ?", id))

    # --- telling

    def claim(self, claim: Claim) -> None:
        """A document came from a file; the last one to say so is believed."""
        self._change("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)", *astuple(claim))

    def read(self, folder: bytes, file: bytes, digest: bytes) -> None:
        """A file was read to its end, and held what the digest tells."""
        self._change("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", folder, file, digest)

    def forget_file(self, folder: bytes, file: bytes) -> None:
        """A file is to be read anew, or is gone."""
        self._change("DELETE FROM files WHERE folder = ? AND file = ?", folder, file)

    def withdraw(self, claim: Claim) -> None:
        """A document is no longer of its folder."""
        self._change(
            "DELETE FROM claims WHERE id = ? AND folder = ? AND hash = ?",
            *(claim.id, claim.folder, claim.hash),
        )

    def settle(self) -> None:
        """The index was committed: it holds what is claimed."""
        self._change("UPDATE claims SET before = x'' WHERE before != x''")

    # --- inside

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def _change(self, sql: str, *values: Any) -> None:
        with self._damage_told():
            self._begin()
            self._db.execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._db.execute(sql, values).fetchall()

    def _copy(self) -> None:
        # subtle: what a killed sync left half written is undone by its first reader, in the file
        source = sqlite3.connect(self.path.absolute().as_uri() + "?mode=rw", uri=True)
        try:
            source.backup(self._db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            raise StorageFailed(
                f"cannot read {self.path}: the last sync was cut short and must be undone, but the "
                "file, its folder or the file system is read-only; run sync where it can write"
            ) from None
        finally:
            source.close()

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if reason := refused_by(error):
                raise StorageFailed(f"cannot write {self.path}: {reason}") from None
            raise BadInput(
                f"{self.path}: cannot be used ({error}); if it is damaged, {_WAY_OUT}"
            ) from None


def problems(index: Path) -> list[str]:
    """What is wrong with the claims of the index in this folder, if it has any, in one line."""
    path = index / FILE
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as db:
            [(found,)] = db.execute("PRAGMA quick_check(1)")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_BUSY):
            return []  # a sync is at it, or was cut short and is undone by the next
        found = str(error)
    except sqlite3.Error as error:
        found = str(error)
    reason = " ".join(str(found).split())
    return [] if reason == "ok" else [f"{path}: damaged ({reason}); {_WAY_OUT}"]
