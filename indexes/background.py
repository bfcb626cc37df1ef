"""A merge beside the writer, on a thread of its own; one at a time.

What it reads never changes, and what it writes nobody knows yet. The writer takes the result in
at a later commit, with whatever died meanwhile. If it fails or is given up, its files are removed
and the segments stay as they were.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait

from .directory import Directory
from .draft import Draft
from .leftovers import is_ours
from .manifest import FieldSpec
from .merge import Merged, Plan, merge_segments
from .policy import choose_merges

Task = Callable[[], None]
Beside = Callable[[Task], None]  # does a task beside the caller's work


class _GivenUp(Exception):
    """The writer does not want the merge any more."""


def on_a_thread(task: Task) -> None:
    """Do the task on a new thread, which the process does not wait for when it ends."""
    threading.Thread(target=task, name="merge", daemon=True).start()


class Background:
    """The merge that goes on beside a writer, if there is one.

    What failed is not tried again: it would fail again, commit after commit.
    """

    def __init__(self, directory: Directory, beside: Beside) -> None:
        self._directory = directory
        self._beside = beside
        self._plan: Plan | None = None
        self._outcome: Future[Merged] = Future()
        self._stopped = threading.Event()
        self._failed: frozenset[str] = frozenset()

    @property
    def is_free(self) -> bool:
        """Whether no merge goes on."""
        return self._plan is None

    @property
    def sources(self) -> frozenset[str]:
        """The names of the segments being merged."""
        return frozenset() if self._plan is None else self._plan.sources

    def owns(self, file: str) -> bool:
        """Whether a file is of the segment being made."""
        return self._plan is not None and file.startswith(self._plan.name + ".")

    def start(self, plan: Plan, fields: Mapping[str, FieldSpec]) -> None:
        """Begin a merge, unless the last one failed and had the same sources.

        `is_free` must be true.
        """
        if plan.sources == self._failed:
            return
        outcome, stopped = Future[Merged](), threading.Event()

        def step() -> None:
            if stopped.is_set():
                raise _GivenUp

        def task() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                outcome.set_result(merge_segments(self._directory, fields, plan, step))
            except BaseException as error:
                try:
                    self._remove(plan)
                finally:
                    outcome.set_exception(error)

        self._plan, self._outcome, self._stopped = plan, outcome, stopped
        try:
            self._beside(task)
        except RuntimeError:  # no thread to be had: there is no merge then
            outcome.cancel()
        except BaseException:
            outcome.cancel()  # subtle: Ctrl-C may come when the thread runs already, or not yet
            raise

    def begin(self, draft: Draft, limit: int) -> None:
        """Begin the first merge that the policy wants; `limit` is the policy's."""
        # subtle: after a commit only, so that what is dead for the merge is dead for good, and
        # a rollback cannot bring it back
        if self.is_free:
            for plan in draft.plans(choose_merges, limit)[:1]:
                self.start(plan, draft.manifest.fields)

    def take_into(self, draft: Draft) -> None:
        """Put what was merged in place."""
        done = self.result()
        if done is not None:
            draft.take_in(*done)

    def result(self) -> tuple[Plan, Merged] | None:
        """The merge that is done, once; None if there is none, or not yet, or it failed."""
        if self._plan is None or not self._outcome.done():
            return None
        plan, self._plan = self._plan, None
        if self._outcome.cancelled():
            return None
        error = self._outcome.exception()
        if error is None:
            return plan, self._outcome.result()
        if not isinstance(error, _GivenUp):
            self._failed = plan.sources
        return None

    def wait(self) -> None:
        """Wait until the merge is done; one that has not begun is called off."""
        if self._plan is not None and not self._outcome.cancel() and not self._outcome.done():
            wait([self._outcome])

    def stop(self, seconds: float | None = None) -> None:
        """Give the merge up; waits until it has noticed, or at most so long."""
        self._stopped.set()
        if self._plan is not None and not self._outcome.cancel() and not self._outcome.done():
            wait([self._outcome], seconds)

    def when_done(self, call: Callable[[], None]) -> None:
        """Call when no merge goes on: now, or on its thread when it is done."""
        if self._plan is None:
            call()
        else:
            self._outcome.add_done_callback(lambda outcome: call())

    def _remove(self, plan: Plan) -> None:
        with contextlib.suppress(Exception):
            for file in self._directory.sizes():
                if file.startswith(plan.name + ".") and is_ours(self._directory, file):
                    self._directory.remove(file)
