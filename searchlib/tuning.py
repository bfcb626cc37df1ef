"""The hybrid's weights and calibration, from one's own judged queries, where that proves better.

Every weighting of a grid, single retrievers among them, ranks every query. What is reported is
cross-validated: each fifth of the queries is ranked with the weights that were best on the rest.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from indexes.manifest import FieldSpec
from indexes.writer import Writer

from .calibrating import UNFITTED, CalibrationReport, calibrate, judged_hits
from .config import Settings
from .errors import BadInput, BadQuery, ModelMismatch
from .evaluation import Comparison, Qrels, answers_in, compare, evaluate, run_of, themselves
from .evidence import default_calibration, dense_model
from .fused import Fused
from .indexing import no_progress
from .naming import name_ids
from .protocols import Progress
from .quoting import quoted
from .types import Ranking

if TYPE_CHECKING:
    from .engine import Engine

FOLDS = 5
FEWEST = 20  # queries: with fewer, no difference could be told from luck
LEVEL = 0.05  # of the paired test
MEASURE = "nDCG@10"
CUTOFF = 10
PARTS = {"bm25_passage": "bm25_weight", "sparse": "sparse_weight", "dense": "dense_weight"}
STEPS = (0.0, 0.15, 0.3, 0.45, 0.7, 1.0)

Weights = tuple[float, ...]
PerQuery = Mapping[str, float]
Outcome = Literal["better", "no better", "reset"]


@dataclass(frozen=True)
class TuneReport:
    """What tuning found. Means are nDCG@10; the tuned one, its gain and p are cross-validated."""

    outcome: Outcome
    weights: dict[str, float]  # that the index has now, by retriever
    before: dict[str, float]
    queries: int = 0
    best_single: str = ""  # the best retriever alone
    alone: float | None = None  # its mean, smoothed as the hybrid is
    mean_before: float | None = None
    mean_tuned: float | None = None
    gain: float | None = None
    low: float | None = None  # 95 % bootstrap interval of the gain
    high: float | None = None
    p: float | None = None  # of the paired randomisation test
    calibration: CalibrationReport | None = None  # of the hits' probabilities


@dataclass(frozen=True)
class Choice:
    """Weights that cross-validation speaks for: those that there were, unless others are better.

    `against`: the chosen ones' values compared with those that there were.
    """

    weights: Weights
    better: bool
    best_single: str
    alone: float
    against: Comparison


def tune(
    engine: Engine,
    topics: Mapping[str, str],
    qrels: Qrels,
    *,
    dry_run: bool = False,
    on_progress: Progress = no_progress,
) -> TuneReport:
    """Fit the hybrid to judged queries (id -> text): its weights, then what its scores mean.

    Each is stored in the index, both in one commit, if cross-validation says that it is better
    than what it has (paired randomisation test, p < 0.05); otherwise nothing is written. Other
    settings stay as they are by then.

    Raises:
        BadQuery: the index has nothing to fuse.
        BadInput: fewer than 20 of the queries are judged, or have an answer in the index.
        Locked: another process is writing.
        ModelMismatch: the index was encoded anew meanwhile.
    """
    engine.refresh()
    hybrid, fields = _hybrid(engine), engine.snapshot.fields
    topics = {id: text for id, text in topics.items() if qrels.get(id)}
    # as the hybrid reads them; an empty one finds nothing either way
    topics = {
        id: engine.respelled(text).query if text.strip() else text for id, text in topics.items()
    }
    if len(topics) < FEWEST:
        raise BadInput(
            f"{len(topics)} judged queries are too few to tune with; {FEWEST} are needed, "
            "a few hundred are good"
        )
    _must_hold_answers(engine, topics, qrels)
    choice = choose_weights(engine, topics, qrels, on_progress)
    weights = _by_name(hybrid, choice.weights)
    hits = judged_hits(replace(hybrid, weights=choice.weights), topics, qrels)
    calibrated = engine.calibrated()
    calibration, fit = calibrate(
        hits,
        calibrated.calibration if calibrated else None,
        default_calibration(engine.snapshot) or UNFITTED,
        model="".join(dense_model(engine.snapshot)[-1:]),
    )
    changes: dict[str, Any] = _settings_of(weights) if choice.better else {}
    if fit.better:
        changes["calibration"] = calibration
    if changes and not dry_run:
        _store(engine, fields, changes)
    against = choice.against
    return TuneReport(
        outcome="better" if choice.better else "no better",
        weights=weights,
        before=_by_name(hybrid, hybrid.weights),
        queries=len(topics),
        best_single=choice.best_single,
        alone=choice.alone,
        mean_before=against.b,
        mean_tuned=against.a,
        gain=against.difference,
        low=against.low,
        high=against.high,
        p=against.p,
        calibration=fit,
    )


def choose_weights(
    engine: Engine, topics: Mapping[str, str], qrels: Qrels, on_progress: Progress
) -> Choice:
    """The weights of the hybrid that these judged queries speak for."""
    hybrid = _hybrid(engine)
    names = [part.name for part in hybrid.parts]
    grid = weightings(len(names), hybrid.weights)
    values = _values(engine, grid, topics, qrels, on_progress)
    held_out: PerQuery = cross_validated(values)
    chosen = _best(values, list(topics))
    singles = [tuple(float(i == j) for j in range(len(names))) for i in range(len(names))]
    single = max(singles, key=lambda weights: _mean(values[weights], topics))
    one = cross_validated({weights: values[weights] for weights in singles})
    if _mean(held_out, topics) <= _mean(one, topics):  # fusion does not help here
        chosen, held_out = single, one
    against = compare(held_out, values[hybrid.weights])
    better = against.difference > 0 and against.p < LEVEL
    return Choice(
        chosen if better else hybrid.weights,
        better,
        names[singles.index(single)],
        _mean(values[single], topics),
        against,
    )


def reset(engine: Engine) -> TuneReport:
    """Give the hybrid the default weights and calibration again.

    Raises:
        BadQuery: the index has nothing to fuse.
        Locked: another process is writing.
        ModelMismatch: the index was encoded anew that moment.
    """
    engine.refresh()
    before, fields = _hybrid(engine), engine.snapshot.fields
    default = Settings()
    weights = {name: getattr(default, setting) for name, setting in PARTS.items()}
    _store(engine, fields, {**_settings_of(weights), "calibration": None})
    return TuneReport(
        "reset",
        {part.name: weights[part.name] for part in before.parts},
        _by_name(before, before.weights),
    )


def weightings(parts: int, current: Weights) -> list[Weights]:
    """The grid: the weights that there are, then all whose largest is 1.

    >>> weightings(2, (0.5, 1.0))[:3], len(weightings(2, (0.5, 1.0)))
    ([(0.5, 1.0), (0.0, 1.0), (0.15, 1.0)], 12)
    """
    every = itertools.product(STEPS, repeat=parts)
    return list(dict.fromkeys([current, *(weights for weights in every if max(weights) == 1.0)]))


def cross_validated(values: Mapping[Weights, PerQuery]) -> dict[str, float]:
    """Each query's value under the weights that are best for the queries of the other folds."""
    ids = sorted(next(iter(values.values())))
    random.Random(0).shuffle(ids)
    held_out: dict[str, float] = {}
    for fold in range(FOLDS):
        held = ids[fold::FOLDS]
        chosen = _best(values, [id for i, id in enumerate(ids) if i % FOLDS != fold])
        held_out |= {id: values[chosen][id] for id in held}
    return held_out


def _by_name(hybrid: Fused, weights: Weights) -> dict[str, float]:
    """Weights of the hybrid's parts by the retrievers' names."""
    return {part.name: weight for part, weight in zip(hybrid.parts, weights, strict=True)}


def _settings_of(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by the names of the settings that keep them."""
    return {PARTS[name]: weight for name, weight in weights.items()}


def _best(values: Mapping[Weights, PerQuery], ids: Sequence[str]) -> Weights:
    """The weights with the largest mean over the queries; of equals the first."""
    return max(values, key=lambda weights: sum(values[weights][id] for id in ids))


def _mean(by_query: PerQuery, topics: Mapping[str, str]) -> float:
    return sum(by_query[id] for id in topics) / len(topics)


def _must_hold_answers(engine: Engine, topics: Mapping[str, str], qrels: Qrels) -> None:
    """Raise BadInput where hardly a query has an answer: then nothing could be learned of hits."""
    answered = len(answers_in(engine.snapshot, topics, qrels))
    if answered < FEWEST:
        raise BadInput(
            f"{answered} of {len(topics)} judged queries have a relevant document in "
            f"{engine.path}; {FEWEST} are needed: do the ids agree?"
        )


def _hybrid(engine: Engine) -> Fused:
    hybrid = engine.retriever("hybrid")
    if not isinstance(hybrid, Fused):
        raise BadQuery(f"{engine.path} has words only: there is nothing to fuse, nothing to tune")
    return hybrid


def _values(
    engine: Engine,
    grid: Sequence[Weights],
    topics: Mapping[str, str],
    qrels: Qrels,
    on_progress: Progress,
) -> dict[Weights, PerQuery]:
    """nDCG@10 of every query under every weighting, quotation marks heeded as in every search."""
    hybrid = _hybrid(engine)
    runs: list[dict[str, dict[str, float]]] = [{} for _ in grid]
    own = themselves(hybrid.snapshot, topics, qrels)
    for done, (id, text) in enumerate(topics.items(), 1):
        if quoted(text):
            heeding = [engine.quoting(replace(hybrid, weights=weights)) for weights in grid]
            tops = [one.top([text], CUTOFF + 1, None, "document")[0] for one in heeding]
        else:
            tops = hybrid.top_weighted(text, CUTOFF + 1, grid)
        for run, top in zip(runs, tops, strict=True):
            ids = name_ids(hybrid.snapshot, top.ids, "document")
            ranking = Ranking(tuple(ids), tuple(top.scores.tolist()))
            run.update(run_of([id], [ranking], k=CUTOFF, themselves=own))
        on_progress(done, len(topics), "")
    judged = {id: qrels[id] for id in topics}
    return {
        weights: evaluate(judged, run, MEASURE).per_query[MEASURE]
        for weights, run in zip(grid, runs, strict=True)
    }


def _store(engine: Engine, fields: Mapping[str, FieldSpec], changes: Mapping[str, Any]) -> None:
    """Commit changes of the settings as they are now, if the fields are what they were."""
    with Writer.open(engine.folder) as writer:
        engine.refresh()  # nobody else can write from here on
        if engine.snapshot.fields != fields:
            raise ModelMismatch(
                f"{engine.path} was encoded anew meanwhile; what was found is of its old vectors, "
                "so nothing is kept: tune it again"
            )
        writer.commit(replace(engine.settings, **changes).to_json())
    engine.refresh()
