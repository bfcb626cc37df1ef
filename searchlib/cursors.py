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


@dataclass(frozen=True)
class Page:
    """Some hits, and the cursor that asks for the next ones; None: there are no more."""

    hits: tuple[Hit, ...]
    cursor: str | None


def make_cursor(generation: int, asked: Sequence[object], offset: int) -> str:
    """Where the next page begins, for this question and commit: opaque, letters and digits."""
    content = json.dumps([generation, _digest(asked), offset]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_cursor(cursor: str, generation: int, asked: Sequence[object]) -> int:
    """The offset that a cursor says.

    Raises BadQuery for what is no cursor, or one of another question or another commit.
    """
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        made, digest, offset = json.loads(content)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        made, digest, offset = None, None, None
    if type(made) is not int or type(offset) is not int or offset < 0:
        raise BadQuery(f"{cursor[:40]!r} is no cursor; take one from the page before")
    if digest != _digest(asked):
        raise BadQuery("the cursor belongs to another query, filter or order; begin without it")
    if made != generation:
        raise BadQuery(
            f"the cursor belongs to generation {made} of the index, which is at {generation} now;"
            " begin again without it"
        )
    return offset


def _digest(asked: Sequence[object]) -> str:
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()
