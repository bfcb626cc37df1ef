"""Ctrl-C within long SQL statements, which Python would notice only after their end."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

STEPS = 200_000  # of SQLite's machine, a few milliseconds, between two looks


def heed(connection: sqlite3.Connection) -> None:
    """Let Ctrl-C end the connection's statements; see `raised`."""
    # subtle: signals are handled when Python code runs, and this is some
    connection.set_progress_handler(lambda: 0, STEPS)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Within the block, a statement that Ctrl-C ended raises KeyboardInterrupt."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None
        raise
