"""What heeding quotation marks is worth: queries that quote, answered with and without it.

Of each collection, all queries of the split that quote something; nothing else is asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from blending import difference
from effectiveness import add_collections, add_place, chosen_collections, opened
from report import one_line_errors, parser, provenance, say

from searchlib import Engine, Settings
from searchlib.evaluation import Qrels, compare, evaluate, run_of, themselves
from searchlib.quoting import quoted
from searchlib.scorer import ranked_ids

RETRIEVERS = ("hybrid", "instant")
MEASURE, K = "nDCG@10", 10
PerQuery = Mapping[str, float]


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/quoting.py --data path/to/beir")
    add_collections(made)
    add_place(made)
    return made.parse_args()


def measured(
    engine: Engine, topics: Mapping[str, str], qrels: Qrels, name: str
) -> tuple[PerQuery, PerQuery]:
    """The measure of each query, taken as it is and as a search takes it."""
    judged, texts = {id: qrels[id] for id in topics}, list(topics.values())
    answers = (
        ranked_ids(engine.retriever(name), texts, K + 1, None, "document"),
        engine.rank(texts, K + 1, retriever=name),
    )
    own = themselves(engine.snapshot, topics, judged)
    runs = [run_of(list(topics), found, k=K, themselves=own) for found in answers]
    plain, heeded = (evaluate(judged, run, MEASURE).per_query[MEASURE] for run in runs)
    return plain, heeded


def main() -> None:
    options = arguments()
    print(f"| {MEASURE} | queries that quote | without | heeded | difference |")
    print("|---|---|---|---|---|")
    with one_line_errors():
        say(json.dumps(provenance()))
        for collection in chosen_collections(options):
            topics = {id: text for id, text in collection.topics().items() if quoted(text)}
            if not topics:
                say(f"{collection.name}: no query quotes anything")
                continue
            with opened(collection, Settings(), options.cache, options.device) as engine:
                for name in RETRIEVERS:
                    without, heeded = measured(engine, topics, collection.qrels(), name)
                    found = compare(heeded, without)
                    means = [sum(values.values()) / len(values) for values in (without, heeded)]
                    print(
                        f"| {collection.name}, {name} | {len(without)} | {means[0]:.4f} "
                        f"| {means[1]:.4f} | {difference(found)} |"
                    )


if __name__ == "__main__":
    main()
