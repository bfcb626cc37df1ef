"""What can go wrong in the engine room; each message is one line for the user."""

from __future__ import annotations


def one_line(message: str) -> str:
    r"""A message in which quoted text can neither begin a line nor command a terminal.

    >>> one_line("no field 'a\nb'")
    "no field 'a\\nb'"
    """
    if message.isprintable():
        return message
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    return "".join(escaped)


class SearchlibError(Exception):
    """Base of every error that a user can cause or mend, in here and above."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class NoIndex(SearchlibError):
    """The folder holds no index."""


class IndexExists(SearchlibError):
    """The folder holds something already."""


class Damaged(SearchlibError):
    """A file is missing, cut short or not what the manifest says; the message names it."""


class Closed(SearchlibError):
    """The index was closed; whoever wants to go on opens it again."""


class UnsupportedFormat(SearchlibError):
    """The index was written by another version of the format."""


class Locked(SearchlibError):
    """Another writer holds the index; the message names its process and since when."""


class BadFilter(SearchlibError):
    """A filter expression that cannot be parsed; the message shows where."""


class StorageFailed(SearchlibError):
    """The file system refused: full disk, no permission, read-only."""
