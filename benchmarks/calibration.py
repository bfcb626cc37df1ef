"""Are probabilities right, and is "nothing good found" said where it is so?

Calibrations are fitted to all collections but one, and measured on that one. Questions without an
answer are made in two ways: each collection is asked what the others are asked (off-topic), and
the documents that are relevant to a fifth of its own queries are deleted from a copy of its index
(on topic, but gone). Measured are the Brier score and the expected calibration error of the ten
best hits' probabilities, and how well the best hit's tells questions with an answer from those
without: AUC, and what a floor loses and catches, the floor being the one that loses 2 % of the
queries of the other collections. Last, the calibration that `searchlib tune` would fit.
Writes figures and a reliability plot. With --quick: 20 queries a collection.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from calibration_plot import plot
from effectiveness import QUICK_QUERIES, chosen_collections, opened
from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib import Engine, Settings
from searchlib.calibrating import Judged, brier, calibrate, judged_hits
from searchlib.calibration import Calibration, Float64s, fitted
from searchlib.errors import BadQuery
from searchlib.evaluation import Collection
from searchlib.fused import Fused

FIRST = Calibration(0.0, 1.5, 0.0, 1.0)  # where fitting begins; of no weight
SURE = 1e5  # hits that a collection counts for: the prior is then of no weight
OFF_TOPIC = 0.5  # what queries of other collections count for, against a collection's own
LOST = 0.02
BINS = 10
SHARE_GONE = 5  # of every fifth query the answers are deleted


@dataclass(frozen=True)
class Answers:
    """The best hits of queries to one collection."""

    own: dict[str, Judged]
    off_topic: dict[str, dict[str, Judged]]  # by the collection whose queries they are
    gone: dict[str, Judged]

    def foreign(self, but: str = "") -> list[Judged]:
        """Hits of the other collections' queries, but those of one."""
        return [
            one for name, hits in self.off_topic.items() if name != but for one in hits.values()
        ]


def main() -> None:
    made = parser(
        __doc__ or "",
        "python benchmarks/calibration.py path/to/beir/* --out build/calibration",
    )
    made.add_argument("collections", nargs="*", type=Path, help="BEIR folders, three at least")
    made.add_argument("--data", type=Path, help="a folder of BEIR folders: all of them")
    made.add_argument("--queries", type=int, default=200, help="at most; default: %(default)s")
    made.add_argument("--cache", type=Path, default=Path("build/indexes"), help="for indexes")
    made.add_argument("--out", type=Path, default=Path("build/calibration"), help="for results")
    options = made.parse_args()
    with one_line_errors():
        say(json.dumps(provenance()))
        found = answers(options)
        out = {name: learned(found, name) for name in found}
        print_results(results(found, out), "calibration")
        options.out.mkdir(parents=True, exist_ok=True)
        probabilities = {name: told(found[name], out[name]) for name in found}
        plot(probabilities, {n: c.floor for n, c in out.items()}, options.out / "reliability.png")
        default = learned(found)
        say(f"fitted to all: {json.dumps(asdict(default))}")
        (options.out / "calibration.json").write_text(json.dumps(asdict(default)) + "\n")


def answers(options: argparse.Namespace) -> dict[str, Answers]:
    """What every collection answers to its own queries, to others', and without the answers."""
    whole = argparse.Namespace(**{**vars(options), "quick": False})
    collections = chosen_collections(whole)
    if len(collections) < 3:
        raise BadQuery("one collection is left out, and its queries too; give three or more")
    most = QUICK_QUERIES if options.quick else options.queries
    topics = {c.name: drawn(c, most) for c in collections}
    found = {}
    for collection in collections:
        name, qrels = collection.name, collection.qrels()
        others = max(1, most // len(collections))
        with opened(collection, Settings(), options.cache, None) as engine:
            own = judged_hits(hybrid_of(engine), topics[name], qrels)
            foreign = {
                other: judged_hits(hybrid_of(engine), dict(list(asked.items())[:others]), {})
                for other, asked in topics.items()
                if other != name
            }
            path = engine.path
        found[name] = Answers(own, foreign, without_answers(path, topics[name], qrels))
        say(f"{name}: {len(own)} queries of its own")
    return found


def drawn(collection: Collection, most: int) -> dict[str, str]:
    """At most so many of a collection's judged queries, in random order."""
    qrels, topics = collection.qrels(), collection.topics()
    ids = sorted(id for id in topics if qrels.get(id))
    return {id: topics[id] for id in random.Random(0).sample(ids, min(most, len(ids)))}


def hybrid_of(engine: Engine) -> Fused:
    """The default retriever."""
    hybrid = engine.retriever("hybrid")
    assert isinstance(hybrid, Fused)
    return hybrid


def without_answers(
    index: Path, topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, Judged]:
    """The hits of every fifth query in a copy of the index that lacks their relevant documents."""
    asked = dict(list(topics.items())[::SHARE_GONE])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "index"
        shutil.copytree(index, copy)
        with Engine.open(copy) as engine:
            engine.delete({doc for id in asked for doc, grade in qrels[id].items() if grade > 0})
            return judged_hits(hybrid_of(engine), asked, {})


def learned(found: Mapping[str, Answers], but: str = "") -> Calibration:
    """The calibration and floor of all collections but one, each counting the same."""
    rows, relevant, weights = [], [], []
    for name, of_one in found.items():
        for hits, weight in (([*of_one.own.values()], 1.0), (of_one.foreign(but), OFF_TOPIC)):
            if name != but:
                rows.append(np.concatenate([one.evidence for one in hits]))
                relevant.append(np.concatenate([one.relevant for one in hits]))
                weights.append(np.full(len(rows[-1]), SURE * weight / len(rows[-1])))
    made = fitted(np.concatenate(rows), np.concatenate(relevant), FIRST, np.concatenate(weights))
    grid = np.linspace(0, 0.5, 501)
    lost = [
        np.mean(best([*of_one.own.values()], made)[:, None] < grid, axis=0)
        for name, of_one in found.items()
        if name != but
    ]
    floor = float(grid[np.flatnonzero(np.mean(lost, axis=0) <= LOST)[-1]])
    return Calibration(made.base, made.share, made.cosine, made.whole, floor)


def best(hits: Sequence[Judged], calibration: Calibration) -> Float64s:
    """The largest probability among each query's hits, (queries,)."""
    return np.array([calibration.probabilities(one.evidence).max(initial=0) for one in hits])


@dataclass(frozen=True)
class Told:
    """Probabilities of hits and whether they are relevant; the best of each query, by kind."""

    probabilities: Float64s
    relevant: Float64s
    best: dict[str, Float64s]  # "own", "off-topic", "gone"


def told(of_one: Answers, calibration: Calibration) -> Told:
    """What a calibration says of a collection's answers."""
    own = [*of_one.own.values()]
    return Told(
        np.concatenate([calibration.probabilities(one.evidence) for one in own]),
        np.concatenate([one.relevant for one in own]),
        {
            "own": best(own, calibration),
            "off-topic": best(of_one.foreign(), calibration),
            "gone": best([*of_one.gone.values()], calibration),
        },
    )


def results(found: Mapping[str, Answers], out: Mapping[str, Calibration]) -> Iterator[Result]:
    """The figures of each collection, and their means."""
    rows: dict[str, list[float]] = {}
    for name, of_one in found.items():
        said, floor = told(of_one, out[name]), out[name].floor
        own, off, gone = (said.best[kind] for kind in ("own", "off-topic", "gone"))
        _, tuned = calibrate(of_one.own, out[name], out[name], model="")
        figures = {
            "relevant": float(said.relevant.mean()),
            "mean probability": float(said.probabilities.mean()),
            "AUC of hits": auc(said.probabilities[said.relevant > 0],
                               said.probabilities[said.relevant == 0]),
            "Brier": brier(said.probabilities, said.relevant),
            "ECE": calibration_error(said.probabilities, said.relevant),
            "Brier, tuned": tuned.fitted,
            "AUC off-topic": auc(own, off),
            "AUC gone": auc(own, gone),
            "floor": floor,
            "own lost": float((own < floor).mean()),
            "off-topic caught": float((off < floor).mean()),
            "gone caught": float((gone < floor).mean()),
        }  # fmt: skip
        for metric, value in figures.items():
            rows.setdefault(metric, []).append(value)
            yield Result("without it", name, len(of_one.own), metric, value)
    for metric, values in rows.items():
        yield Result("without it", "mean", len(found), metric, float(np.mean(values)))


def auc(of_these: Float64s, of_those: Float64s) -> float:
    """How often one of these is above one of those, ties counting half (Mann and Whitney 1947).

    >>> auc(np.array([0.5, 0.9]), np.array([0.5, 0.1]))
    0.875
    """
    difference = of_these[:, None] - of_those[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def calibration_error(probabilities: Float64s, relevant: Float64s) -> float:
    """Mean difference of probability and frequency over ten bins (Naeini et al., AAAI 2015).

    >>> round(calibration_error(np.array([0.25, 0.25]), np.array([1.0, 0.0])), 3)
    0.25
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.bincount(bins, probabilities - relevant, minlength=BINS)
    return float(np.abs(gaps).sum() / max(1, counts.sum()))


if __name__ == "__main__":
    main()
