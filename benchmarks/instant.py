"""What queries without a network cost: lookup, static and instant against sparse, dense and hybrid.

"glance" is the table of query vectors that comes with searchlib, "own" what `searchlib glance`
makes of the collection's index: of its passages and runs of their words, never of queries or
judgements.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from blending import Values, copied, difference, measured
from effectiveness import add_collections, add_place, chosen_collections, opened
from report import one_line_errors, parser, provenance, say

from searchlib import Engine, Settings
from searchlib.evaluation import Collection, compare_pooled

PAIRS = {"lookup": "sparse", "static": "dense", "instant": "hybrid"}


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/instant.py --data path/to/beir")
    add_collections(made)
    made.add_argument("--queries", type=int, help="at most so many a collection")
    made.add_argument("--runs", type=int, help="of words, to learn from; default: glance's")
    made.add_argument("--without-own", action="store_true", help="only what comes along")
    add_place(made)
    return made.parse_args()


def main() -> None:
    from searchlib.training.static_queries import Plan, fit_index

    options = arguments()
    plan = Plan() if options.runs is None else Plan(runs=options.runs)
    values: Values = {}

    def measure(engine: Engine, collection: Collection, retriever: str, system: str) -> None:
        found = measured(engine, collection, options, retriever)
        values.setdefault(f"{retriever} {system}", {})[collection.name] = found

    with one_line_errors():
        say(json.dumps(provenance()))
        for collection in chosen_collections(options):
            with opened(collection, Settings(), options.cache, options.device) as engine:
                for retriever, model in PAIRS.items():
                    measure(engine, collection, model, "")
                    measure(engine, collection, retriever, "glance")
                if options.without_own:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    started = time.monotonic()
                    made = fit_index(engine, Path(folder) / "own", plan, device=options.device)
                    say(f"{collection.name}: {made}, {time.monotonic() - started:.0f} s")
                    changed = {"static_queries": made.model}
                    with copied(engine, changed, options.device) as own:
                        for retriever in PAIRS:
                            measure(own, collection, retriever, "own")
        print(table(values))


def table(values: Values) -> str:
    """Markdown: a row a retriever and table, a column a collection; against the model's own."""
    names = list(next(iter(values.values())))
    lines = [f"| nDCG@10 | {' | '.join(names)} | mean | against the model's queries |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for system, by_collection in values.items():
        means = [float(np.mean(list(by_collection[name].values()))) for name in names]
        against = ""
        if (model := PAIRS.get(system.split()[0])) is not None:
            found = compare_pooled(
                by_collection, values[model + " "], "collections", samples=20_000
            )
            against = difference(found)
        cells = " | ".join(f"{value:.4f}" for value in [*means, float(np.mean(means))])
        lines.append(f"| {system.strip()} | {cells} | {against} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
