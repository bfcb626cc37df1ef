"""What does a model fitted to a collection gain, without labels? Measured with its judgements.

`blend` (the default): what `searchlib blend` makes of the collection's index, a map of the dense
vectors; seeds differ only where there are more passages than --sample. `--trained`: what
`searchlib adapt` makes; each seed makes other pseudo-queries and holds other documents out, and
where a model is no better on these, the old one stays and counts. Nothing but the documents is
learned from. --base plain: SPLADE-tiny as published; gloss: the default.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from effectiveness import add_collections, add_place, chosen_collections, opened
from finetuning import interval, reencoded, shown
from report import one_line_errors, parser, provenance, say

from indexes.types import TermVectors
from searchlib.evaluation import Collection, compare_pooled

if TYPE_CHECKING:
    from searchlib import Engine
    from searchlib.training.judging import Judged

RETRIEVERS = ("sparse", "hybrid")
SAMPLE = 1000  # passages whose terms are counted

PerQuery = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """nDCG@10 of every query, by retriever, and how many terms a passage and a query have."""

    values: dict[str, PerQuery]
    document_terms: float
    query_terms: float
    written: bool = True
    seconds: float = 0.0

    def mean(self, retriever: str) -> float:
        return fmean(self.values[retriever].values())


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/adaptation.py path/to/beir/cisi --base plain")
    add_collections(made)
    made.add_argument("--split", help="default: test, else dev")
    made.add_argument("--queries", type=int, help="at most so many judged ones a collection")
    made.add_argument("--base", choices=("plain", "gloss"), default="gloss")
    made.add_argument("--trained", action="store_true", help="by `adapt` instead of `blend`")
    made.add_argument("--steps", type=int, help="of training; default: adapt's")
    made.add_argument("--sample", type=int, help="passages that a map is fitted to; default: all")
    made.add_argument("--seeds", type=int, default=3)
    add_place(made)
    return made.parse_args()


def main() -> None:
    from searchlib import Settings
    from searchlib.encoders.models import SPARSE_BASE, SPARSE_DEFAULT

    options = arguments()
    with one_line_errors():
        say(json.dumps(provenance()))
        collections = chosen_collections(options, options.split)
        settings = Settings(sparse_model=SPARSE_BASE if options.base == "plain" else SPARSE_DEFAULT)
        before: list[Measured] = []
        after: list[list[Measured]] = []
        rows = []
        for collection in collections:
            with opened(collection, settings, options.cache, options.device) as engine:
                asked = judged(collection, options)
                before.append(measured(engine, asked))
                seeds = range(options.seeds)
                after.append([fitted(engine, asked, before[-1], options, s) for s in seeds])
                rows.append(row(collection.name, before[-1], after[-1]))
                say(rows[-1])
        print(table(rows, [collection.name for collection in collections], before, after))


def judged(collection: Collection, options: argparse.Namespace) -> Judged:
    """What is measured with."""
    from searchlib.training.judging import Judged

    topics, qrels = collection.topics(options.split), collection.qrels(options.split)
    chosen = {id: topics[id] for id in list(topics)[: options.queries]}
    return Judged(collection.name, chosen, {id: qrels[id] for id in chosen})


def measured(engine: Engine, asked: Judged) -> Measured:
    """What the index's sparse model is worth, alone and in the hybrid."""
    from searchlib.retrievers import FieldRetriever
    from searchlib.training.judging import on_judgements

    values = {name: on_judgements(engine, name, asked) for name in RETRIEVERS}
    every = np.arange(engine.snapshot.n_passages)
    rows = engine.snapshot.stored_rows("sparse", every[:: max(1, len(every) // SAMPLE)])
    scorer = engine.retriever("sparse")
    assert isinstance(scorer, FieldRetriever)
    queries = scorer.queries.encode(list(asked.topics.values()))
    assert isinstance(rows, TermVectors)
    assert isinstance(queries, TermVectors)
    document_terms, query_terms = (len(some.values) / len(some) for some in (rows, queries))
    return Measured(values, document_terms, query_terms)


def fitted(
    engine: Engine, asked: Judged, before: Measured, options: argparse.Namespace, seed: int
) -> Measured:
    """What is measured with the model of one seed; what was before, if none is written."""
    from searchlib.training.blending import PASSAGES, fit_blend

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        started = time.monotonic()
        if options.trained:
            train(engine, target, options, seed)
        else:
            fit_blend(engine, target, passages=options.sample or PASSAGES, seed=seed)
        seconds, written = time.monotonic() - started, target.exists()
        say(f"{asked.name}, seed {seed}: {'' if written else 'not '}written, {seconds:.0f} s")
        if not written:
            return replace(before, written=False, seconds=seconds)
        with reencoded(engine, options, sparse_model=str(target)) as after:
            return replace(measured(after, asked), seconds=seconds)


def train(engine: Engine, target: Path, options: argparse.Namespace, seed: int) -> None:
    """A trained model at `target`, if it is better on what was held out."""
    from searchlib.training.adapt import AdaptSettings, adapt

    settings = AdaptSettings()
    training = replace(settings.making.training, seed=seed)
    if options.steps is not None:
        training = replace(training, steps=options.steps)
    settings = replace(
        settings,
        pairs=replace(settings.pairs, seed=seed),
        mining=replace(settings.mining, seed=seed),
        making=replace(settings.making, training=training),
    )
    outcome = adapt(engine.path, target, settings, device=options.device)
    for found in outcome.judgements:
        say(f"seed {seed}, {found.queries}: {shown(found.comparison)}")


def row(name: str, before: Measured, after: Sequence[Measured]) -> str:
    """A collection's row of the table."""
    cells = [name, f"{sum(found.written for found in after)} of {len(after)}"]
    for retriever in RETRIEVERS:
        old, new = before.mean(retriever), [found.mean(retriever) for found in after]
        gains = [value - old for value in new]
        cells.append(f"{old:.4f} -> {fmean(new):.4f}")
        cells.append(f"{fmean(gains):+.4f} ({interval(gains)})")
    for count in ("document_terms", "query_terms"):
        new = [getattr(found, count) for found in after]
        cells.append(f"{getattr(before, count):.0f} -> {fmean(new):.0f}")
    cells.append(f"{fmean(found.seconds for found in after):.0f} s")
    return "| " + " | ".join(cells) + " |"


def table(
    rows: Sequence[str],
    names: Sequence[str],
    before: Sequence[Measured],
    after: Sequence[Sequence[Measured]],
) -> str:
    """Markdown: a row a collection, and how sure the gain over all of them is."""
    heads = ["", "written"]
    heads += [text for name in RETRIEVERS for text in (f"{name}, nDCG@10", "gain (over seeds)")]
    heads += ["terms a passage", "terms a query", "took"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *rows, ""]
    for retriever in RETRIEVERS:
        old = {name: of.values[retriever] for name, of in zip(names, before, strict=True)}
        new = {
            name: {id: fmean(of.values[retriever][id] for of in seeds) for id in old[name]}
            for name, seeds in zip(names, after, strict=True)
        }
        pooled = compare_pooled(new, old, "collections")
        lines.append(f"{retriever}, mean of {len(names)}, seeds' mean: {shown(pooled)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
