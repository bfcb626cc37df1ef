"""The C extension: optional, safe whatever the file holds, and used by many threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from postings_cases import (
    WAYS,
    built,
    built_from,
    computed_by,
    needs_kernels,
    pairs_of,
    random_rows,
    statistics_of,
)

from indexes import kernels, traversal
from indexes.inversion import Kind
from indexes.postings import Postings
from indexes.similarity import BM25, Dot
from indexes.traversal import Plan, search

HERE = Path(__file__).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in the checkout's root."""
    paths = [str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *command],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )


@pytest.mark.parametrize(
    ("kind", "n_rows", "times"),
    [("impact", 300, 600), ("count", 300, 600), ("count", 66_000, 30), ("impact", 66_000, 30)],
)
def test_garbled_lists_never_crash(kind: Kind, n_rows: int, times: int) -> None:
    done = run(str(HERE / "garbling.py"), kind, str(n_rows), str(times))
    *_, last = done.stdout.splitlines() or [""]
    assert done.returncode == 0, f"exit {done.returncode} after {last}\n{done.stderr}"
    assert int(last.removesuffix(" found")) > times // 3  # garbling is noticed, mostly


SCRIPT = """
import sys
sys.modules["indexes._kernels"] = None
import numpy as np
from postings_cases import *
from indexes import inversion, kernels
from indexes.similarity import Dot
from indexes.traversal import score_rows, search
assert kernels.native() is None
inversion.DENSE_FROM = 1
postings = Postings(built_from(random_rows(0, 600, 30, 4, "impact"), "impact"))
assert postings.lists is None and postings.order is None
postings.check()
vectors = random_rows(1, 3, 30, 4, "impact")
statistics = statistics_of([postings], vectors)
for found in search(postings, vectors, 4, Dot(), statistics):
    print(pairs_of(found.ids, found.scores))
rows = np.arange(5)
print(score_rows(postings, vectors.select(0, 1), Dot(), statistics, rows).tolist())
"""


def test_the_extension_is_optional() -> None:
    """Where it cannot be imported, the same is found."""
    done = run("-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    with computed_by(WAYS[-1], 1):
        postings = Postings(built_from(random_rows(0, 600, 30, 4, "impact"), "impact"))
        vectors = random_rows(1, 3, 30, 4, "impact")
        statistics = statistics_of([postings], vectors)
        found = [
            pairs_of(top.ids, top.scores) for top in search(postings, vectors, 4, Dot(), statistics)
        ]
        query, rows = vectors.select(0, 1), np.arange(5)
        scores = traversal.score_rows(postings, query, Dot(), statistics, rows).tolist()
    assert done.stdout.splitlines() == [*map(str, found), str(scores)]


WITHOUT_MEMORY = """
import re, resource
import numpy as np
from postings_cases import Postings, built_from, random_rows
lists = Postings(built_from(random_rows(0, 600, 30, 4, "impact"), "impact")).lists
rows, sums = np.arange(3), np.empty(3, np.float32)
numbers, factors = np.full(1 << 24, -1, np.int32), np.ones(1 << 24, np.float32)
used = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
try:
    lists.score_rows(numbers, factors, None, rows, sums)
except MemoryError:
    print("no memory")
"""


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_want_of_memory_is_no_damage() -> None:
    done = run("-c", WITHOUT_MEMORY)
    assert (done.stdout, done.stderr) == ("no memory\n", "")


# --- threads


@needs_kernels
@pytest.mark.parametrize("plan", ["auto", "all", "bounded"])
def test_a_batch_shared_by_threads_finds_what_single_queries_find(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traversal, "cores", lambda: 3)
    with computed_by("kernels", 1):
        postings = Postings(built_from(random_rows(2, 3000, 60, 6, "count"), "count"))
        vectors = random_rows(3, 100, 60, 4, "impact")
        statistics = statistics_of([postings], vectors)
        floors = np.linspace(0, 2, 100, dtype=np.float32)
        together = search(postings, vectors, 10, BM25(), statistics, floors=floors, plan=plan)
        for i, found in enumerate(together):
            one, floor = vectors.select(i, i + 1), floors[i : i + 1]
            [alone] = search(postings, one, 10, BM25(), statistics, floors=floor, plan=plan)
            assert pairs_of(found.ids, found.scores) == pairs_of(alone.ids, alone.scores)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["count", "impact"])
def test_many_threads_search_one_field(way: str, kind: Kind) -> None:
    similarity = BM25() if kind == "count" else Dot()
    with computed_by(way, 1):
        postings = Postings(built_from(random_rows(4, 3000, 60, 6, kind), kind))
        vectors = random_rows(5, 40, 60, 4, "impact")
        statistics = statistics_of([postings], vectors)
        masks = [np.random.default_rng(i).random(3000) < 0.5 for i in range(20)]

        def ask(i: int) -> list[Any]:
            query, mask = vectors.select(i % 40, i % 40 + 1), masks[i % 20]
            found = search(postings, query, 5 + i % 30, similarity, statistics, eligible=mask)
            return [pairs_of(top.ids, top.scores) for top in found]

        expected = [ask(i) for i in range(40)]
        postings = Postings(postings.arrays)  # nothing opened, nothing remembered
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(ask, [*range(40)] * 5))
    assert found == expected * 5


# --- what the module itself refuses


def lists(**changes: Any) -> Any:
    """The lists of a small field, opened by the extension itself, some arguments changed."""
    module = kernels.native()
    assert module is not None
    arrays = built([{"a": 1.0, "b": 2.0}, {"a": 1.0}], "impact")
    names = ["list_sizes", "list_starts", "dense", "windows", "ids", "weights"]
    names += ["list_parts", "part_starts", "part_numbers", "part_sizes", "bounds", "tops", "order"]
    held = {name: arrays.get(name) for name in names}
    as_bytes = {
        name: None if array is None else array.reshape(-1).view(np.uint8)
        for name, array in held.items()
    }
    return module.Lists(*{"n": 2, "m": 2, "kind": 0, **as_bytes, **changes}.values())


SHORT = np.zeros(1, np.uint8)


@needs_kernels
@pytest.mark.parametrize(
    "changes",
    [{"n": -1}, {"n": 2**31}, {"n": 2**62}, {"m": -1}, {"m": 3}, {"m": 2**62}, {"kind": 3},
     {"kind": -1}, {"n": 65_537}, {"list_sizes": SHORT}, {"list_starts": SHORT},
     {"weights": SHORT}, {"tops": SHORT}, {"tops": None}, {"order": SHORT},
     {"dense": np.zeros(4, np.uint8)}],
    ids=str,
)  # fmt: skip
def test_lists_that_are_too_short_are_refused(changes: dict[str, Any]) -> None:
    lists()
    with pytest.raises(ValueError, match=r"illegal|too short"):
        lists(**changes)


def asked(**changes: Any) -> list[Any]:
    """The arguments of a search, some changed."""
    arguments = {
        "numbers": np.array([0], np.int32),
        "factors": np.ones(1, np.float32),
        "indptr": np.array([0, 1]),
        "k": 2,
        "norms": None,
        "block_norms": None,
        "mask": None,
        "owners": None,
        "floors": None,
        "plan": 0,
        "ids": np.empty(2, np.int64),
        "scores": np.empty(2, np.float32),
        "wanted": np.array([0, 1]),
        "wanted_scores": np.empty(2, np.float32),
    }
    return [*{**arguments, **changes}.values()]


@needs_kernels
@pytest.mark.parametrize(
    "changes",
    [{"numbers": np.array([2], np.int32)}, {"factors": SHORT}, {"indptr": np.array([0, 2])},
     {"indptr": np.array([1, 0])}, {"indptr": np.array([-1, 1])}, {"indptr": SHORT}, {"k": 0},
     {"k": 3}, {"k": 2**62}, {"norms": SHORT}, {"norms": np.ones(2, np.float32)},
     {"mask": SHORT}, {"owners": SHORT}, {"floors": SHORT}, {"ids": SHORT}, {"scores": SHORT},
     {"wanted_scores": SHORT}, {"wanted": np.array([2])}, {"wanted": np.array([-1])}],
    ids=str,
)  # fmt: skip
def test_searches_with_too_little_room_are_refused(changes: dict[str, Any]) -> None:
    lists().search(*asked())
    with pytest.raises(ValueError, match=r"illegal|too short|garbled"):
        lists().search(*asked(**changes))


@needs_kernels
def test_parts_are_ignored_where_there_is_one() -> None:
    arguments = asked()
    lists(part_starts=SHORT, list_parts=SHORT).search(*arguments)
    assert arguments[-4].tolist() == [0, 1]


@needs_kernels
def test_lists_are_opened_once() -> None:
    opened = lists()
    with pytest.raises(TypeError, match="once"):
        opened.__init__()


# --- what the functions that build refuse


ONE = np.array([0, 1])
HALVES = np.ones(1, np.uint16)


@needs_kernels
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("count_rows", [np.array([1], np.int32), HALVES, np.zeros(1, np.int64), HALVES]),
        ("count_rows", [np.array([-1], np.int32), HALVES, np.zeros(1, np.int64), HALVES]),
        ("count_rows", [np.array([0, 0], np.int32), HALVES, np.zeros(1, np.int64), HALVES]),
        ("renumber", [np.zeros(2, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int32)]),
        ("distinct_terms", [SHORT, np.array([0, 2]), np.zeros(1, np.int32), SHORT, ONE]),
        ("distinct_terms", [SHORT, np.array([0, 1, 0]), np.zeros(2, np.int32), SHORT, ONE]),
        ("distinct_terms", [SHORT, np.array([0, 1]), np.zeros(0, np.int32), SHORT, ONE]),
        ("bound_lists", [1, HALVES, HALVES, ONE, HALVES, SHORT, np.zeros(16, np.uint8)]),
        ("bound_lists", [1, HALVES, HALVES, ONE, HALVES, np.zeros(2, np.uint32), SHORT]),
    ],
)
def test_building_with_too_little_room_is_refused(name: str, arguments: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"too short|garbled"):
        getattr(kernels.native(), name)(*arguments)


def placed(**changes: Any) -> Any:
    """Places a row of one posting, some arguments changed."""
    arguments = {
        "indptr": ONE, "terms": np.zeros(1, np.int32), "weights": HALVES, "order": None,
        "first": 0, "last": 1, "cursors": np.zeros(1, np.int64), "ids": np.zeros(1, np.uint16),
        "lists_weights": np.zeros(1, np.uint16),
    }  # fmt: skip
    module = kernels.native()
    assert module is not None
    return module.place_rows(*{**arguments, **changes}.values())


@needs_kernels
@pytest.mark.parametrize(
    "changes",
    [{"indptr": np.array([0, 2])}, {"indptr": np.array([-1, 1])}, {"indptr": np.array([1, 0])},
     {"order": np.ones(1, np.uint32)}, {"order": SHORT}, {"first": -1}, {"first": 2}, {"last": 2},
     {"weights": SHORT}, {"ids": SHORT}, {"lists_weights": SHORT}],
    ids=str,
)  # fmt: skip
def test_rows_that_are_garbled_are_not_placed(changes: dict[str, Any]) -> None:
    placed()
    with pytest.raises(ValueError, match=r"garbled|too short"):
        placed(**changes)


@needs_kernels
def test_rows_that_are_not_there_are_not_filled() -> None:
    arguments = [np.zeros(2, np.int32), np.zeros(2, np.int32)]
    room = np.zeros(3, np.int32), np.zeros(3, np.uint16)
    lists().transpose(*arguments, np.zeros(1, np.int64), *room)
    for row_at, numbers, cursors in (
        (np.ones(2, np.int32), arguments[1], np.zeros(1, np.int64)),
        (SHORT, arguments[1], np.zeros(1, np.int64)),
        (arguments[0], SHORT, np.zeros(1, np.int64)),
        (*arguments, np.full(1, 3)),
        (*arguments, np.full(1, -1)),
    ):
        with pytest.raises(ValueError, match=r"garbled|too short"):
            lists().transpose(row_at, numbers, cursors, *room)
