"""One writer at a time: a lock that ends with its process, and says who holds it and since when.

The lock is the system's (flock): it is gone when its process is, however that ended, and Linux's
NFS passes it on to the server, so that it holds between hosts. Where a file system has no such
locks, the existence of a file is the lock: left behind by a process of this host that does not
run any more it is taken away, left behind by another host it is the user's to remove.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import Locked, StorageFailed
from .refusals import refusals

LOCK = "write.lock"  # locked by the system; its content tells who did
HELD = "write.held"  # where the system cannot: it is there while somebody writes

_UNABLE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Be the only writer of the folder within the block.

    Raises Locked, naming the process and since when, if somebody else is; StorageFailed where
    the folder cannot be written to (searching it needs no lock).
    """
    import fcntl

    path = root / LOCK
    if path.is_symlink():
        raise StorageFailed(f"cannot lock {path}: it is a link, must be a file")
    with refusals(f"write to {root}"):
        # subtle: were it a link or a pipe, somebody else's file would be written to
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o644)
    owner = os.getpid()
    try:
        with contextlib.ExitStack() as stack:
            with refusals(f"lock {path}"):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Locked(_held(root, os.pread(descriptor, 4096, 0))) from None
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise
                    stack.enter_context(_held_by_existence(root))
            with contextlib.suppress(OSError):  # a full disk must not keep anyone from deleting
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _me(), 0)
            yield
    finally:
        # subtle: a process forked meanwhile has the lock too, and closing would leave it with that
        # one; and should that one come here, it must not take the lock from its parent
        if os.getpid() == owner:
            with contextlib.suppress(OSError):  # where there are no locks
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextlib.contextmanager
def _held_by_existence(root: Path) -> Iterator[None]:
    path, mine, owner = root / HELD, _me(), os.getpid()
    with refusals(f"write {path}"):
        try:
            _create(path, mine)
        except FileExistsError:
            theirs = _content(path)
            if not _is_stale(theirs) or not _take_away(path, theirs):
                raise Locked(
                    f"{_held(root, theirs)}; if it does not run any more, remove {path}"
                ) from None
            try:
                _create(path, mine)
            except FileExistsError:
                raise Locked(_held(root, _content(path))) from None
    try:
        yield
    finally:
        if os.getpid() == owner and _content(path) == mine:
            with contextlib.suppress(OSError):
                path.unlink()


def _create(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _take_away(path: Path, stale: bytes) -> bool:
    """Remove a lock file with this content; False if somebody else was faster."""
    mine = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        os.rename(path, mine)
    except FileNotFoundError:
        return False
    try:
        if mine.read_bytes() == stale:
            return True
        # subtle: a faster one had taken it away and made its own, which is given back
        os.link(mine, path)
        return False
    finally:
        mine.unlink()


def _is_stale(owner: bytes) -> bool:
    """Whether the process named is of this host and does not run any more."""
    values = _parsed(owner)
    if values is None or values["host"] != os.uname().nodename:
        return False
    try:
        os.kill(values["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _me() -> bytes:
    owner = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    return json.dumps(owner).encode()


def _parsed(owner: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(owner)
        if type(values["pid"]) is int and values["pid"] > 0 and values["host"] and values["since"]:
            return dict(values)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _held(root: Path, owner: bytes) -> str:
    values = _parsed(owner)
    who = "another process, or another thread of this one"
    if values is not None:
        who = f"process {values['pid']} on {values['host']} since {values['since']}"
        if (values["pid"], values["host"]) == (os.getpid(), os.uname().nodename):
            return f"{root} is being written by {who}: this one itself, elsewhere; one at a time"
    return f"{root} is being written by {who}; wait for it to finish, or stop it"
