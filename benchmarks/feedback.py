"""Does feedback pay? Every retriever over BEIR collections, plain and with feedback.

"+ feedback" learns from the retriever's own best passages, "+ feedback, hybrid first" from those
of the hybrid. A collection that was measured before, with the same options, is not measured again;
the tables are made of all that the folder for results holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from effectiveness import (
    QUERIES_AT_ONCE,
    add_collections,
    add_place,
    chosen_collections,
    drawn,
    opened,
)
from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib import Engine, Settings
from searchlib.evaluation import (
    Collection,
    Comparison,
    compare,
    compare_pooled,
    evaluate,
    holm,
    run_of,
    themselves,
)
from searchlib.feedback import Feedback
from searchlib.scorer import Scorer

RETRIEVERS = ("bm25", "sparse", "dense", "hybrid")
OWN, HYBRID = " + feedback", " + feedback, hybrid first"
MEASURES = ("nDCG@10", "R@100")
K = 100
SIGNIFICANT = 0.05

Values = dict[str, dict[str, dict[str, float]]]  # system -> measure -> query -> value


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/feedback.py --data path/to/beir --queries 300")
    add_collections(made)
    made.add_argument("--queries", type=int, help="at most so many a collection, drawn")
    made.add_argument("--passages", type=int, default=Feedback().passages, help="%(default)s")
    made.add_argument("--terms", type=int, default=Feedback().terms, help="%(default)s")
    made.add_argument("--weight", type=float, default=Feedback().weight, help="%(default)s")
    add_place(made)
    made.add_argument("--out", type=Path, default=Path("build/feedback"), help="for results")
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        feedback = Feedback(options.passages, options.terms, options.weight)
        say(json.dumps(provenance()))
        folder = options.out / f"{feedback.passages}-{feedback.terms}-{feedback.weight:g}"
        folder.mkdir(parents=True, exist_ok=True)
        asked = (r for c in chosen_collections(options) for r in once(c, feedback, options, folder))
        print_results(asked, "feedback")
        measured = {
            path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))
        }
        text = "\n".join(tables(measured))
        (folder / "feedback.md").write_text(text, encoding="utf-8")
        say(text)


def once(
    collection: Collection, feedback: Feedback, options: argparse.Namespace, folder: Path
) -> Iterator[Result]:
    """The means of a collection, measured now or before."""
    path = folder / f"{collection.name}.json"
    if not path.is_file():
        path.write_text(json.dumps(measure(collection, feedback, options)), encoding="utf-8")
    values: Values = json.loads(path.read_text(encoding="utf-8"))
    for system, by_measure in values.items():
        for name, by_query in by_measure.items():
            yield Result(system, collection.name, len(by_query), name, _mean(by_query))


def measure(collection: Collection, feedback: Feedback, options: argparse.Namespace) -> Values:
    """What each system is worth, query by query."""
    topics, qrels = drawn(collection, options)
    needed = {id for judged in qrels.values() for id in judged} if options.quick else None
    ids = list(topics)
    with opened(collection, Settings(), options.cache, options.device, needed) as engine:
        found = systems(engine, feedback)
        runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in found}
        own = themselves(engine.snapshot, topics, qrels)
        for start in range(0, len(ids), QUERIES_AT_ONCE):
            block = ids[start : start + QUERIES_AT_ONCE]
            for name, system in found.items():
                rankings = engine.rank([topics[id] for id in block], K + 1, retriever=system)
                runs[name].update(run_of(block, rankings, k=K, themselves=own))
            say(f"{collection.name}: {start + len(block)} of {len(ids)} queries")
    return {name: evaluate(qrels, run, ",".join(MEASURES)).per_query for name, run in runs.items()}


def systems(engine: Engine, feedback: Feedback) -> dict[str, str | Scorer]:
    """Every retriever, plain and with feedback of both kinds."""
    found: dict[str, str | Scorer] = {}
    for name in RETRIEVERS:
        found[name] = name
        found[name + OWN] = engine.refined(name, feedback)
        if name != "hybrid":
            found[name + HYBRID] = engine.refined(name, feedback, first="hybrid")
    return found


def tables(measured: dict[str, Values]) -> Iterator[str]:
    """A table of means for each measure, and each feedback against none, as Markdown.

    A star: a paired randomisation test finds p < 0.05, over the collection's queries.
    """
    names = list(next(iter(measured.values())))
    for metric in MEASURES:
        yield f"| {metric} | {' | '.join(measured)} | mean |"
        yield "|---" * (len(measured) + 2) + "|"
        for name in names:
            cells = [_cell(values, name, metric) for values in measured.values()]
            mean = np.mean([_mean(values[name][metric]) for values in measured.values()])
            yield f"| {name} | {' | '.join(cells)} | {mean:.3f} |"
        yield ""
        yield f"| {metric}, feedback - none | difference | interval | p | won | lost | equal |"
        yield "|---|---|---|---|---|---|---|"
        with_feedback = [name for name in names if _plain(name) != name]
        against = [_pooled(measured, name, metric) for name in with_feedback]
        adjusted = holm(np.array([c.p for c in against]))
        for name, c, p in zip(with_feedback, against, adjusted, strict=True):
            yield (
                f"| {name} | {c.difference:+.4f} | {c.low:+.4f} to {c.high:+.4f} | {p:.4f}"
                f" | {c.wins} | {c.losses} | {c.ties} |"
            )
        yield ""


def _cell(values: Values, name: str, metric: str) -> str:
    own, plain = values[name][metric], values[_plain(name)][metric]
    star = "*" if own is not plain and compare(own, plain, samples=20_000).p < SIGNIFICANT else ""
    return f"{_mean(own):.3f}{star}"


def _pooled(measured: dict[str, Values], name: str, metric: str) -> Comparison:
    """Over all collections, each weighing the same."""

    def of(system: str) -> dict[str, dict[str, float]]:
        return {collection: values[system][metric] for collection, values in measured.items()}

    return compare_pooled(of(name), of(_plain(name)), "collections", samples=20_000)


def _plain(name: str) -> str:
    return name.removesuffix(HYBRID).removesuffix(OWN)


def _mean(by_query: dict[str, float]) -> float:
    return sum(by_query.values()) / len(by_query)


if __name__ == "__main__":
    main()
