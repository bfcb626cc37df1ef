"""What the system refuses, as one line."""

from __future__ import annotations

import contextlib
import errno
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
