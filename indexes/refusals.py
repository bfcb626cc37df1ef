"""What the system refuses, as one line."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from .errors import StorageFailed

_REASONS = {
    errno.ENOSPC: "no space left on the device; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "it exists already",
    errno.ELOOP: "it is a link, must be a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}

_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _REASONS[errno.ENOSPC],
    sqlite3.SQLITE_READONLY: "the file, its folder or the file system is read-only",
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_IOERR: "the system cannot write; is there space left?",
}


def refused_by(error: sqlite3.Error) -> str | None:
    """Why the system let SQLite not write; None where something else is wrong."""
    return _OF_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)


@contextlib.contextmanager
def refusals(action: str) -> Iterator[None]:
    """Turn an OSError in the block into StorageFailed("cannot `action`: why").

    FileNotFoundError passes: what a missing file means, the caller knows.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageFailed(f"cannot {action}: {reason}") from error
