"""What an index answers does not depend on how it came about: any history, one fresh build.

A state machine does anything a writer can do, in any order, with merges beside it that run
whenever it pleases them. After every commit, rankings and scores of every field equal those of
an index made at once of the surviving documents. `pytest -rP` shows how many operations ran.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import index_cases as cases
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from index_cases import FIELDS, WORDS, QuickDirectory, all_answers, create, query, record, rows

from indexes import column_file, policy
from indexes.background import Task
from indexes.manifest import VectorField, read_manifest
from indexes.snapshot import Snapshot
from indexes.types import Record, Update
from indexes.writer import Writer

IDS = "abcdefgh"
PASSAGE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
DOCUMENT = st.tuples(st.sampled_from(IDS), st.lists(PASSAGE, min_size=1, max_size=3))

done: dict[str, int] = {}  # operations run, by name


class History(RuleBasedStateMachine):
    """A writer, what it ought to hold (`model`), and what its last commit holds."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.tasks: list[Task] = []
        self.model: dict[str, Record] = {}
        self.committed: dict[str, Record] = {}
        self.fresh = True  # the last commit was compared

    @initialize(
        budget=st.sampled_from([1, 4000, 2**28]),
        few=st.sampled_from([1, 1, 1, 2]),
        at_once=st.sampled_from([0, 0, 0, policy.AT_ONCE]),
        max_dead=st.sampled_from([0.3, 1]),
        columns_from=st.sampled_from([1, 3]),
    )
    def begin(
        self, budget: int, few: int, at_once: int, max_dead: float, columns_from: int
    ) -> None:
        chosen = {"FEW": few, "AT_ONCE": at_once, "MAX_DEAD": max_dead}
        self.patch = contextlib.ExitStack()
        self.patch.enter_context(mock.patch.multiple(policy, **chosen))
        self.patch.enter_context(mock.patch.object(column_file, "WRITTEN_FROM", columns_from))
        self.budget = budget
        Writer.create(QuickDirectory(self.folder / "i"), FIELDS).close()
        self.open()

    def open(self) -> None:
        self.writer = Writer(QuickDirectory(self.folder / "i"), self.budget, self.tasks.append)

    def count(self, name: str) -> None:
        done[name] = done.get(name, 0) + 1

    @rule(documents=st.lists(DOCUMENT, min_size=1, max_size=4), committing=st.booleans())
    def add(self, documents: list[tuple[str, list[str]]], committing: bool) -> None:
        new = [record(id, *passages, n=len(passages)) for id, passages in documents]
        self.count("upsert" if self.model.keys() & {r.id for r in new} else "add")
        self.writer.add(new, rows(new))
        self.model |= {r.id: r for r in new}
        if committing:
            self.commit("commit")

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=3))
    def delete(self, ids: list[str]) -> None:
        self.count("delete")
        assert self.writer.delete(ids) == len(self.model.keys() & set(ids))
        for id in ids:
            self.model.pop(id, None)

    @rule(numbers=st.dictionaries(st.sampled_from(IDS), st.integers(1, 4), max_size=4))
    def update(self, numbers: dict[str, int]) -> None:
        self.count("update")
        updates = {id: Update(id, {"n": n}, b"%d" % n) for id, n in numbers.items()}
        known = self.model.keys() & updates.keys()
        assert self.writer.update(list(updates.values())) == len(known)
        for id in known:
            new = updates[id]
            self.model[id] = replace(self.model[id], metadata=new.metadata, hash=new.hash)

    @rule(verb=st.sampled_from(["merge", "vacuum", "finish"]))
    def tidy(self, verb: str) -> None:
        self.commit(verb)

    @rule(verb=st.just("commit"))
    def commit(self, verb: str) -> None:
        self.count(verb)
        getattr(self.writer, verb)()
        self.committed = dict(self.model)
        self.fresh = False

    @rule(verb=st.sampled_from(["rollback", "reopen"]))
    def forget(self, verb: str) -> None:
        self.count(verb)
        if verb == "rollback":
            self.writer.rollback()
        else:
            self.writer.close()
            self.open()
        self.model = dict(self.committed)

    @rule(steps=st.lists(st.tuples(DOCUMENT, st.booleans()), min_size=2, max_size=4))
    def commits(self, steps: list[tuple[tuple[str, list[str]], bool]]) -> None:
        """A segment each, which is what merges beside are made of; some run in between."""
        for document, merging in steps:
            if merging and self.tasks:
                self.merge_beside()
            before = self.n_segments()
            self.add([document], committing=True)
            self.count("merge came in") if self.n_segments() < before else None

    @precondition(lambda self: self.tasks)
    @rule()
    def merge_beside(self) -> None:
        self.count("merge beside")
        self.tasks.pop(0)()

    def n_segments(self) -> int:
        return len(read_manifest(QuickDirectory(self.folder / "i")).segments)

    @invariant()
    def the_last_commit_is_as_if_made_at_once(self) -> None:
        if self.fresh:
            return
        self.fresh = True
        shutil.rmtree(self.folder / "j", ignore_errors=True)
        create(QuickDirectory(self.folder / "j"), list(self.committed.values()))
        with Snapshot.open(self.folder / "i") as one, Snapshot.open(self.folder / "j") as other:
            compare(one, other, self.committed)

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self.writer.close()
            self.patch.close()
        shutil.rmtree(self.folder)


def compare(one: Snapshot, other: Snapshot, model: dict[str, Record]) -> None:
    """`one` has come about somehow, `other` was made at once of `model`: the same, bit for bit."""
    assert all_answers(one) == all_answers(other)
    assert one.n_documents == len(model)
    assert one.n_passages == sum(len(r.passages) for r in model.values())
    assert set(one.all_ids()) == model.keys()
    numbers = one.lookup(list(model))
    assert {r.id: r for r in one.records(numbers)} == model
    shown = one.excerpts(one.passages_of_each(numbers)[0], 100)
    assert {e.id: e.metadata for e in shown} == {r.id: r.metadata for r in model.values()}
    assert one.hashes([*IDS]) == {r.id: r.hash for r in model.values()}
    assert len(one.select("n > 1")) == sum(r.metadata["n"] > 1 for r in model.values())
    assert one.verify() == []
    for words in (["red"], ["fish", "two", "bird"]):
        expected = cases.bm25_by_hand(model.values(), words)
        assert cases.answers(one, "bm25", query(*words)) == pytest.approx(expected)


def test_any_history_answers_as_one_fresh_build() -> None:
    done.clear()
    # subtle: chance rarely leaves merges beside out; then more histories are made
    for _ in range(5):
        run_state_machine_as_test(
            History,
            settings=settings(
                max_examples=30,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if done.get("merge beside"):
            break
    print(f"{sum(done.values())} operations: {done}")  # noqa: T201
    assert sum(done.values()) > 300
    assert done.get("merge beside", 0) > 0


def test_codes_find_what_the_scan_finds_whatever_the_history() -> None:
    """Recall@10 of the codes against exact search, and equal scores, through a long life."""
    dim, coded = 16, VectorField("dense", 16, "passage", "pq")
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(30, dim))
    made = (centres[rng.integers(0, 30, 3000)] + rng.normal(size=(3000, dim)) / 2).astype("f4")
    asked = made[rng.integers(0, 3000, 50)] + rng.normal(size=(50, dim)).astype("f4") / 4
    with tempfile.TemporaryDirectory() as folder:
        path = QuickDirectory(Path(folder) / "i")
        with Writer.create(path, [coded]) as writer:
            for start in range(0, 3000, 100):
                part = [record(f"d{n % 2500}", f"{n}") for n in range(start, start + 100)]
                writer.add(part, {"dense": made[start : start + 100]})
                writer.delete([f"d{n}" for n in range(start, start + 100, 7)])
                writer.commit()
                if start % 1000 == 900:
                    assert recall(path, asked) >= 0.97
            for change in (writer.finish, writer.vacuum, writer.merge):
                change()
                assert recall(path, asked) >= 0.97


def recall(path: QuickDirectory, asked: np.ndarray) -> float:
    with Snapshot.open(path) as snapshot:
        found = snapshot.search("dense", asked, 10)
        exact = snapshot.search("dense", asked, 10, exact=True)
    shares = []
    for some, all in zip(found, exact, strict=True):
        scores = dict(zip(all.ids.tolist(), all.scores.tolist(), strict=True))
        shares.append(len(scores.keys() & set(some.ids.tolist())) / len(scores))
        for id, score in zip(some.ids.tolist(), some.scores.tolist(), strict=True):
            assert scores.get(id, score) == pytest.approx(score, abs=1e-5)
    return float(np.mean(shares))
