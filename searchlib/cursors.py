"""A page of hits, and the cursor that says where the next one begins."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import BadQuery
from .types import Hit

Commit = tuple[int, str]  # an index's generation, and when it was committed


@dataclass(frozen=True)
class Page:
    """Some hits, and the cursor that asks for the next ones; None: there are no more."""

    hits: tuple[Hit, ...]
    cursor: str | None


def make_cursor(commit: Commit, asked: Sequence[object], offset: int) -> str:
    """Where the next page begins, for this question and commit: opaque, letters and digits."""
    content = json.dumps([*commit, _digest(asked), offset]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(cursor: str, commit: Commit, asked: Sequence[object]) -> int:
    """The offset that a cursor says.

    Raises BadQuery for what is no cursor, or one of another question or another commit.
    """
    if not isinstance(cursor, str):
        raise BadQuery(f"{cursor!r} is no cursor but {type(cursor).__name__}; take a page's own")
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        generation, created, digest, offset = json.loads(content)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        generation, created, digest, offset = None, None, None, None
    if type(generation) is not int or type(offset) is not int or offset < 0:
        raise BadQuery(f"{cursor[:40]!r} is no cursor; take one from the page before")
    if digest != _digest(asked):
        raise BadQuery("the cursor belongs to another query, filter or order; begin without it")
    if generation != commit[0]:
        raise BadQuery(
            f"the cursor belongs to generation {generation} of the index, which is at {commit[0]}"
            " now; begin again without it"
        )
    if created != commit[1]:
        raise BadQuery(
            "the cursor belongs to an index that was in this place before; begin again without it"
        )
    return offset


def _digest(asked: Sequence[object]) -> str:
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()
