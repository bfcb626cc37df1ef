"""Whether an inverted file holds what it should: everything is read, for `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged
from .inversion import BLOCK, BLOCKS, WINDOW, bound_codes

if TYPE_CHECKING:
    from .postings import Postings

SMALLEST, LARGEST = 0x0400, 0x7BFF  # float16's normal numbers > 0, as bits


def check_postings(postings: Postings) -> None:
    """Raise Damaged where numbers are out of bounds or out of order, or a bound is too low.

    A bound that is too low, or a top that is not its list's largest weight, would silently lose
    results; any other damage here is found as well by whoever follows the numbers.
    """
    for problem in _problems(postings):
        raise Damaged(f"{postings.name}: {problem}")


def _problems(postings: Postings) -> Iterator[str]:
    arrays, m = postings.arrays, postings.n_terms
    _ = postings.places  # raises Damaged itself
    if any(a >= b for a, b in pairwise(map(_utf8, postings.terms()))):
        yield "the terms are not sorted"
    for offsets in (postings.lists_at, postings.parts_at):
        if offsets is not None:
            offsets.all()  # raises ValueError
    dense, windows = arrays["dense"], arrays["windows"].reshape(-1).astype(np.int64)
    if len(windows) and windows[0] != 0:
        yield "windows do not cover the dense lists"
    if (np.diff(windows) < 0).any():
        yield "windows are not ascending"
    if not np.array_equal(np.flatnonzero(arrays["list_sizes"] == 0), dense):
        yield "terms have no posting list, or two"
    tops = arrays.get("tops", np.zeros(m, np.float16)).view(np.uint16)
    for number in range(m):
        places, weights = postings.stored(number)
        if not (
            len(places) == len(weights) > 0
            and (np.diff(places) > 0).all()
            and places[-1] < postings.n_rows
        ):
            yield "postings are out of bounds or out of order"
        yield from _weight_problems(postings, number, weights)
        place = int(np.searchsorted(dense, number))
        if place < len(dense) and dense[place] == number:
            windows_of = np.repeat(
                np.arange(postings.n_windows), np.diff(arrays["windows"][place].astype(np.int64))
            )
            if not np.array_equal(places // WINDOW, windows_of):
                yield "postings lie in other windows than theirs"
            lowest = np.zeros(postings.n_windows * BLOCKS, np.uint8)
            np.maximum.at(lowest, places // BLOCK, bound_codes(weights, tops[number : number + 1]))
            if (arrays["bounds"][place] < lowest).any():
                yield "a bound is too low"
    if postings.kind == "count":
        lengths = postings.lengths.astype(np.float64)
        if not ((lengths >= 0) & (lengths < np.inf)).all():
            yield "a row's length is no number >= 0"


def _weight_problems(postings: Postings, number: int, weights: NDArray[Any]) -> Iterator[str]:
    if postings.kind == "count":
        if (weights == 0).any():
            yield "a count is 0"
        return
    bits = weights.view(np.uint16)  # ascend as the weights do
    if bits.min() < SMALLEST or bits.max() > LARGEST:
        yield "an impact is no number that may be stored"
    if postings.arrays["tops"].view(np.uint16)[number] != bits.max():
        yield "the largest weight of a list is another one"


def _utf8(term: str) -> bytes:
    return term.encode("utf-8", "surrogatepass")
