"""What does `searchlib finetune` gain? Trained on one split's judgements, measured on another's.

The index holds one passage a document. Each seed holds other training queries out and draws other
batches; where a seed's model is no better on what it held out, the old one stays and counts.
"new answers": the test queries none of whose answers is an answer of a training query. --blended:
the sparse model is first blended with the dense one, as `searchlib blend` does, without labels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from effectiveness import add_place, opened
from report import one_line_errors, parser, provenance, say
from scipy import stats

from searchlib.evaluation import Collection, Comparison, compare

if TYPE_CHECKING:
    from searchlib import Engine
    from searchlib.training.judging import Judged

PerQuery = dict[str, float]


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/finetuning.py path/to/beir/scifact")
    made.add_argument("collection", type=Path, help="a BEIR folder with judgements in two splits")
    made.add_argument("--train", default="train", help="the split that is learned from")
    made.add_argument("--test", default="test", help="the split that is measured with")
    made.add_argument("--kind", choices=("sparse", "dense"), default="dense")
    made.add_argument("--whole", action="store_true", help="train all of the model's weights")
    made.add_argument("--blended", action="store_true", help="begin with a blend")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--minutes", type=float, help="of each training, about")
    add_place(made)
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        say(json.dumps(provenance()))
        collection = Collection(options.collection)
        with begun(collection, options) as engine:
            asked = tested(collection, options)
            before = measured(engine, options.kind, asked)
            after = [trained(engine, collection, options, asked, s) for s in range(options.seeds)]
        print(table(before, after, asked))


@contextmanager
def begun(collection: Collection, options: argparse.Namespace) -> Iterator[Engine]:
    """The index that training begins with."""
    from searchlib import Settings
    from searchlib.training.blending import fit_blend

    settings = Settings(max_passages=1)
    with (
        opened(collection, settings, options.cache, options.device) as engine,
        tempfile.TemporaryDirectory() as folder,
    ):
        if not options.blended:
            yield engine
            return
        fit_blend(engine, Path(folder) / "blend")
        with reencoded(engine, options, sparse_model=str(Path(folder) / "blend")) as other:
            yield other


def tested(collection: Collection, options: argparse.Namespace) -> Judged:
    """The test queries; those with new answers are a part of them."""
    from searchlib.training.judging import Judged

    known = {d for of in collection.qrels(options.train).values() for d, n in of.items() if n > 0}
    topics, qrels = dict(collection.topics(options.test)), collection.qrels(options.test)
    new = [id for id in topics if known.isdisjoint(d for d, n in qrels[id].items() if n > 0)]
    return Judged(f"{collection.name}, {options.test}", topics, qrels, {"new answers": new})


def trained(
    engine: Engine, collection: Collection, options: argparse.Namespace, asked: Judged, seed: int
) -> dict[str, PerQuery]:
    """What is measured after one training."""
    from searchlib.training.finetune import FinetuneSettings, finetune

    settings = FinetuneSettings(kind=options.kind, whole=options.whole, seed=seed)
    topics, qrels = collection.topics(options.train), collection.qrels(options.train)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        outcome = finetune(
            engine.path, topics, qrels, target, settings,
            minutes=options.minutes, device=options.device,
        )  # fmt: skip
        for found in outcome.judgements:
            say(f"seed {seed}, {found.queries}: {shown(found.comparison)}")
        better = "better" if outcome.model else "not better, the old model stays"
        say(f"seed {seed}: {outcome.steps} steps, {outcome.seconds:.0f} s, {better}")
        if outcome.model is None:
            return measured(engine, options.kind, asked)
        with reencoded(engine, options, **{f"{options.kind}_model": str(target)}) as after:
            return measured(after, options.kind, asked)


def measured(engine: Engine, kind: str, asked: Judged) -> dict[str, PerQuery]:
    """nDCG@10 of each test query, by retriever."""
    from searchlib.training.judging import on_judgements

    return {name: on_judgements(engine, name, asked) for name in (kind, "hybrid")}


@contextmanager
def reencoded(engine: Engine, options: argparse.Namespace, **models: Any) -> Iterator[Engine]:
    """A copy of an index with another model."""
    from dataclasses import replace

    from searchlib import Engine
    from searchlib.training.work import copy_of_index

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.index"
        copy_of_index(engine.path, copy)
        with Engine.open(copy, device=options.device) as other:
            other.reencode(replace(other.settings, **models))
            yield other


def table(before: Mapping[str, PerQuery], after: list[dict[str, PerQuery]], asked: Judged) -> str:
    """Markdown: a row a retriever and part of the queries."""
    seeds = " | ".join(f"seed {number}" for number in range(len(after)))
    lines = [
        f"| nDCG@10, {asked.name} | queries | before | {seeds} | gain, mean of seeds | its interval"
        " over seeds | their mean against before, over queries |",
        "|---" * (len(after) + 6) + "|",
    ]
    for name, old in before.items():
        for part, ids in {"all": old.keys(), **asked.parts}.items():
            if not ids:
                continue
            base = fmean(old[id] for id in ids)
            values = [fmean(of[name][id] for id in ids) for of in after]
            mean = {id: fmean(of[name][id] for of in after) for id in ids}
            cells = [f"{name}, {part}", str(len(ids)), f"{base:.4f}", *(f"{v:.4f}" for v in values)]
            gains = [value - base for value in values]
            cells += [f"{fmean(gains):+.4f}", interval(gains)]
            lines.append(
                f"| {' | '.join(cells)} | {shown(compare(mean, {id: old[id] for id in ids}))} |"
            )
    return "\n".join(lines)


def interval(gains: list[float]) -> str:
    """95%, Student's t over seeds."""
    if len(gains) < 2:
        return ""
    half = stats.t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
    return f"{fmean(gains) - half:+.4f} to {fmean(gains) + half:+.4f}"


def shown(found: Comparison) -> str:
    """How far apart two systems are, and how sure that is."""
    return f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}), p = {found.p:.2g}"


if __name__ == "__main__":
    main()
