"""What the user reads when something goes wrong: one line on stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from .signals import INTERRUPTED

DEBUG = "SEARCHLIB_DEBUG"  # 1, true, yes, ...: tracebacks are shown


def debugging() -> bool:
    """Whether tracebacks are shown: what `--debug` says, which reads the variable alike."""
    return os.environ.get(DEBUG, "").strip().lower() in ("1", "true", "t", "yes", "y", "on")


def say(line: str) -> None:
    from indexes.errors import one_line

    print(one_line(f"searchlib: {line}"), file=sys.stderr)  # noqa: T201


def report(error: Exception) -> int:
    """Says in one line what went wrong; the exit code."""
    from indexes.errors import Damaged
    from searchlib.errors import BadDocument, Interrupted, SearchlibError

    if isinstance(error, ImportError):
        error = _refused_by_the_system(error) or error
    if isinstance(error, BadDocument):
        say(f"{str(error).strip()} (--skip-bad passes over such)")
    elif isinstance(error, Damaged):
        say(f"{str(error).strip()}; restore a copy, or index again into a new folder")
    elif isinstance(error, SearchlibError):
        say(str(error).strip())
    elif isinstance(error, FileNotFoundError) and not error.filename and not _is_somewhere():
        say("the folder in which this was called is gone; go to one that is there")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or error}")
    elif isinstance(error, typer.Abort):
        say("stopped")
    elif isinstance(error, MemoryError):
        say("out of memory; a smaller --memory or smaller documents may help")
    elif isinstance(error, RuntimeError) and "out of memory" in str(error):  # torch's
        say("the GPU is out of memory; free it of other work, or use --device cpu")
    else:
        kind = type(error).__name__
        say(f"this is a bug: {kind}: {error} (searchlib --debug shows where; please report it)")
    return INTERRUPTED if isinstance(error, Interrupted) else 1


def _refused_by_the_system(error: ImportError) -> OSError | None:
    """Why a module could not be loaded where nothing is wrong with it."""
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        if str(error).endswith(os.strerror(number)):
            return OSError(number, os.strerror(number), error.path)
    return None


def _is_somewhere() -> bool:
    """Whether the working directory exists."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


@contextmanager
def reported() -> Iterator[None]:
    """Within a prompt: an error is reported and the prompt goes on."""
    try:
        yield
    except Exception as error:
        if debugging():
            raise
        report(error)
