"""Queries expanded without a network: what a model makes of each token alone, looked up.

A sparse model's vocabulary is small, so all its one-token texts can be expanded once; a query
is then the maximum over its tokens' rows. What is lost is context ("bank" has one row).
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModel
from .activations import Array
from .models import TABLES, user_cache
from .terms import Terms
from .tokenizing import Tokenizer
from .weights import Weights

if TYPE_CHECKING:
    from .expander import Expander

KEPT = 4  # terms a token: more make queries slower, and hardly better (benchmarks/adaptation.md)

log = logging.getLogger("searchlib.models")


@dataclass(frozen=True)
class Neighbours:
    """Each token's heaviest terms: token t has `ids[starts[t]:starts[t + 1]]`."""

    starts: NDArray[np.int64]  # (V + 1,)
    ids: NDArray[np.int32]
    weights: Array  # float32 > 0

    def terms(self, tokens: NDArray[np.int32]) -> Terms:
        """A query's terms, ids ascending.

        Each of its tokens' terms with the largest weight that any of them gives it, and each
        token itself with the square root of its count added. Tokens beyond the table are none.
        """
        known = tokens[tokens < len(self.starts) - 1]
        distinct, counts = np.unique(known, return_counts=True)
        pieces = [np.arange(self.starts[t], self.starts[t + 1]) for t in distinct.tolist()]
        places = np.concatenate(pieces) if pieces else np.empty(0, np.int64)
        ids, at = np.unique(np.concatenate([distinct, self.ids[places]]), return_inverse=True)
        weights = np.zeros(len(ids), np.float32)
        np.maximum.at(weights, at[len(distinct) :], self.weights[places])
        weights[at[: len(distinct)]] += np.sqrt(counts).astype(np.float32)
        return Terms(ids.astype(np.int32), weights)


def make_neighbours(expander: Expander) -> Neighbours:
    """Run every token of the vocabulary alone through the model, and keep its heaviest terms.

    Tokens that the tokenizer has and the model does not know have none.
    """
    tokenizer, known = expander.tokenizer, expander.vocabulary
    found = expander.heaviest([tokenizer.wrap([t]) for t in range(known)], KEPT)
    unknown = [0] * (tokenizer.size - known)
    starts = np.cumsum([0, *(len(terms.ids) for terms in found), *unknown])
    ids = np.concatenate([terms.ids for terms in found])
    weights = np.concatenate([terms.weights for terms in found])
    if not np.isfinite(weights).all():
        raise UnsupportedModel("the sparse model makes weights that are not numbers")
    return Neighbours(starts.astype(np.int64), ids, weights)


def kept_neighbours(digest: str, tokenizer: Tokenizer) -> Neighbours | None:
    """The table of the model with that digest that comes with searchlib, or was made earlier."""
    for folder in (TABLES, user_cache() / "tables"):
        table = _read(folder / _name(digest), tokenizer.size)
        if table is not None:
            return table
    return None


def _read(folder: Path, size: int) -> Neighbours | None:
    """A folder's table of so many tokens; None where there is none that makes sense."""
    try:
        tensors = Weights(folder)
        starts, ids, weights = (tensors[name] for name in ("starts", "ids", "weights"))
    except (UnsupportedModel, KeyError):
        return None
    sound = (
        starts.dtype == np.int64
        and len(starts) == size + 1
        and starts[0] == 0
        and (np.diff(starts) >= 0).all()
        and starts[-1] == len(ids) == len(weights)
        and (not len(ids) or 0 <= ids.min() <= ids.max() < 1 << 24)
        and bool(np.isfinite(weights).all())
    )
    return Neighbours(starts, ids.astype(np.int32), weights.astype(np.float32)) if sound else None


def keep_neighbours(digest: str, table: Neighbours) -> None:
    """Keep a table in the user's cache; where that cannot be written to, say so and go on."""
    from safetensors.numpy import save

    tensors = {"starts": table.starts, "ids": table.ids, "weights": table.weights}
    place = user_cache() / "tables" / _name(digest) / "model.safetensors"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(save(tensors))
            os.replace(temporary, place)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        log.warning("cannot keep the table of expansions in %s: %s", place.parent, error.strerror)


def _name(digest: str) -> str:
    return f"{digest}-{KEPT}"


def table_terms(table: Neighbours, tokenizer: Tokenizer, texts: Sequence[str]) -> list[Terms]:
    """The terms of each text; special tokens in it count for nothing."""
    return [table.terms(ids) for ids in tokenizer.plain_words(texts)]
