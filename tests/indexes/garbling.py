"""Garbles posting lists at random and asks everything of them: run by test_kernels.py.

    python tests/indexes/garbling.py impact 300 1000

The kind, how many rows, and how many times. Damaged and wrong rankings are fine; any other
exception, or a crash, is not. The last line printed says what was garbled last.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import numpy as np
from postings_cases import Arrays, built_from, random_rows, similarities

from indexes import inversion
from indexes.builder import merge_postings
from indexes.errors import Damaged
from indexes.inversion import Kind
from indexes.postings import Postings
from indexes.similarity import Statistics
from indexes.traversal import Plan, explain_row, score_rows, search
from indexes.types import TermVectors

PLANS: tuple[Plan, ...] = ("all", "bounded")


def garbled(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    """The arrays, a few bytes of one of them changed; those at the ends more often."""
    name = rng.choice([name for name, array in sorted(arrays.items()) if array.size])
    array = arrays[name].copy()
    raw = array.reshape(-1).view(np.uint8)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(raw)))
        if rng.random() < 0.3:
            place = int(rng.choice([0, len(raw) - 1, len(raw) - array.itemsize]))
        raw[place] = rng.choice([0, 255, raw[place] ^ 1, rng.integers(256)])
        sys.stdout.write(f"{name} {array.shape}, byte {place} is {raw[place]}\n")
    sys.stdout.flush()
    return {**arrays, name: array}


def ask_everything(arrays: Arrays, kind: Kind, query: TermVectors, alive: np.ndarray) -> None:
    """Raises Damaged, or nothing."""
    postings = Postings(arrays, "garbled")
    n = postings.n_rows
    owners = (np.arange(n) // 3).astype(np.uint32)
    statistics = Statistics(np.full(len(query.terms), n // 2 + 1), n, 2.0)
    for similarity in similarities(kind)[::3]:
        for plan in PLANS:
            for mask in (None, alive):
                with suppress(Damaged):
                    search(postings, query, 5, similarity, statistics, eligible=mask, plan=plan)
        with suppress(Damaged):
            search(postings, query, 3, similarity, statistics, owners=owners)
        with suppress(Damaged):
            rows = np.array([0, n - 1, n // 2])
            score_rows(postings, query, similarity, statistics, rows)
        with suppress(Damaged):
            explain_row(postings, query, similarity, statistics, n - 1)
    with suppress(Damaged):
        postings.document_frequency(postings.term_ids(query.terms), alive)
    with suppress(Damaged):
        merge_postings([postings, postings], [alive, ~alive])
    postings.check()


def main(kind: Kind, n_rows: int, times: int) -> None:
    """Garble `times` times, from seed 0 on."""
    inversion.DENSE_FROM = 1
    inversion.DENSE_SHARE = {"f": 64, "u": 96}
    n_terms, mean = (30, 2.5) if n_rows < 10_000 else (300, 0.2)
    arrays = built_from(random_rows(1, n_rows, n_terms, mean, kind), kind)
    assert 0 < arrays["windows"][-1, -1] < len(arrays["ids"])  # both kinds of lists
    query = random_rows(2, 1, n_terms, 12.0, "impact")
    alive = np.random.default_rng(3).random(n_rows) < 0.8
    found = 0
    for seed in range(times):
        rng = np.random.default_rng(seed)
        broken = garbled(arrays, rng)
        try:
            with np.errstate(all="ignore"):
                ask_everything(broken, kind, query, alive)
        except Damaged:
            found += 1
    sys.stdout.write(f"{found} found\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))  # type: ignore[arg-type]
