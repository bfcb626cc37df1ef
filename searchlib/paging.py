"""Parts of one ranking: what `offset` means, so that nothing is shown twice.

Most rankings of k are the beginning of the ranking of more. That of a fusion, or of a reranker, is
not, beyond its depth: there a deeper ranking has candidates of its own, which may come before
others. So the ranking that is paged is made in rounds, of depth, 2 x depth, 4 x depth, ...
documents: each round goes on with what it has that the rounds before had not.
"""

from __future__ import annotations

import numpy as np

from indexes.snapshot import Selection
from indexes.types import TopK, Unit

from .errors import BadQuery
from .fused import Fused
from .quoting import Quoting
from .reranked import Reranked
from .scorer import Scorer

ROUND = 100  # hits of vectors that are searched for at once, where they are paged


def check_offset(offset: int) -> None:
    """Refuse an offset that is none. Raises BadQuery."""
    if not hasattr(offset, "__index__") or offset < 0:
        raise BadQuery(f"illegal offset: {offset!r}, must be a whole number, 0 or more")


def ranked_part(
    scorer: Scorer,
    query: str,
    where: Selection | None,
    unit: Unit,
    *,
    offset: int,
    k: int,
    paged: bool,
) -> TopK:
    """The hits of ranks offset + 1 to offset + k of the one ranking that is `paged`, if it is."""
    wanted = offset + k
    depth = first = wanted
    if isinstance(scorer, Fused | Quoting | Reranked):
        depth, first = scorer.depth, min(wanted, scorer.depth)
    elif paged and scorer.direct:  # of vectors' codes, more candidates are found for more hits
        depth = first = ROUND
    top = scorer.top([query], first, where, unit)[0]
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
