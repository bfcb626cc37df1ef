"""Pages of one ranking: what `offset` and a cursor mean, so that nothing is shown twice.

Most rankings of k are the beginning of the ranking of more. That of a fusion, or of a reranker, is
not, beyond its depth: there a deeper ranking has candidates of its own, which may come before
others. So the ranking that is paged is made in rounds, of depth, 2 x depth, 4 x depth, ...
documents: each round goes on with what it has that the rounds before had not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.snapshot import Selection
from indexes.types import TopK, Unit

from .errors import BadQuery
from .fused import Fused
from .reranked import Reranked
from .retrievers import Scorer
from .types import Hit


@dataclass(frozen=True)
class Page:
    """Some hits, and the cursor that asks for the next ones; None: there are no more."""

    hits: tuple[Hit, ...]
    cursor: str | None


def check_offset(offset: int) -> None:
    """Refuse an offset that is none. Raises BadQuery."""
    if offset < 0:
        raise BadQuery(f"illegal offset: {offset}, must be 0 or more")


def ranked_part(
    scorer: Scorer, query: str, where: Selection | None, unit: Unit, *, offset: int, k: int
) -> TopK:
    """The hits of ranks offset + 1 to offset + k of the one ranking that is paged."""
    wanted = offset + k
    depth = scorer.depth if isinstance(scorer, Fused | Reranked) else wanted
    top = scorer.top([query], min(wanted, depth), where, unit)[0]
    while len(top.ids) < wanted and len(top.ids) >= depth:
        depth *= 2
        deeper = scorer.top([query], depth, where, unit)[0]
        fresh = ~np.isin(deeper.ids, top.ids)
        if not fresh.any():
            break
        top = TopK(
            np.concatenate([top.ids, deeper.ids[fresh]]),
            np.concatenate([top.scores, deeper.scores[fresh]]),
        )
    return TopK(top.ids[offset:wanted], top.scores[offset:wanted])


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
