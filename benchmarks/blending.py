"""Does a blend pay? Sparse and hybrid with the plain model, with the default, and with one's own.

"plain" is the sparse model as published, "gloss" the blend that comes with searchlib, fitted to a
dictionary, and "own" what `searchlib blend` makes of the collection's index. Nothing is fitted to
queries or judgements. Indexes are re-encoded in copies.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from effectiveness import (
    QUERIES_AT_ONCE,
    QUICK_QUERIES,
    add_collections,
    add_place,
    chosen_collections,
    opened,
)
from report import one_line_errors, parser, provenance, say

from searchlib import Settings
from searchlib.evaluation import (
    Collection,
    Comparison,
    compare,
    compare_pooled,
    evaluate,
    run_of,
    themselves,
)

if TYPE_CHECKING:
    from searchlib import Engine
RETRIEVERS = ("sparse", "lookup", "hybrid")
SYSTEMS = ("plain", "gloss", "own")
MEASURE = "nDCG@10"
SIGNIFICANT = 0.05
K = 100

Values = dict[str, dict[str, dict[str, float]]]  # "sparse own" -> collection -> query -> value


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/blending.py --data path/to/beir")
    add_collections(made)
    made.add_argument("--queries", type=int, help="at most so many a collection")
    made.add_argument("--document-share", type=float, help="default: blend's")
    made.add_argument("--query-share", type=float, help="default: blend's")
    made.add_argument("--extra-query-terms", type=int, help="default: blend's")
    add_place(made)
    return made.parse_args()


def main() -> None:
    from searchlib.encoders.models import SPARSE_BASE, SPARSE_DEFAULT
    from searchlib.training.blending import DOCUMENT_SHARE, EXTRA, QUERY_SHARE, fit_blend

    options = arguments()

    def chosen(given: float | None, default: float) -> float:
        return default if given is None else given

    with one_line_errors():
        say(json.dumps(provenance()))
        collections = chosen_collections(options)
        values: Values = {}
        for collection in collections:
            plain = Settings(sparse_model=SPARSE_BASE)
            with opened(collection, plain, options.cache, options.device) as engine:
                measure(engine, collection, options, "plain", values)
                gloss_model = {"sparse_model": SPARSE_DEFAULT}
                with copied(engine, gloss_model, options.device) as gloss:
                    measure(gloss, collection, options, "gloss", values)
                    with tempfile.TemporaryDirectory() as folder:
                        model = Path(folder) / "own"
                        made = fit_blend(
                            gloss,
                            model,
                            document_share=chosen(options.document_share, DOCUMENT_SHARE),
                            query_share=chosen(options.query_share, QUERY_SHARE),
                            extra_query_terms=int(chosen(options.extra_query_terms, EXTRA)),
                        )
                        say(f"{collection.name}: {made}")
                        own_model = {"sparse_model": str(model)}
                        with copied(gloss, own_model, options.device) as own:
                            measure(own, collection, options, "own", values)
        print(table(values, [collection.name for collection in collections]))


@contextmanager
def copied(engine: Engine, changed: dict[str, str], device: str | None) -> Iterator[Engine]:
    """A copy of an index with other settings."""
    from searchlib import Engine

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.index"
        shutil.copytree(engine.path, copy)
        with Engine.open(copy, device=device) as other:
            settings = Settings.from_json(engine.settings.to_json() | changed)
            done = other.reencode(settings)
            taken = time.monotonic() - started
            say(f"{changed}: {done.known} passages known, {done.encoded} encoded, {taken:.1f} s")
            yield other


def measure(
    engine: Engine, collection: Collection, options: argparse.Namespace, system: str, values: Values
) -> None:
    """Put every query's value into `values`, for all RETRIEVERS."""
    for retriever in RETRIEVERS:
        found = measured(engine, collection, options, retriever)
        values.setdefault(f"{retriever} {system}", {})[collection.name] = found


def measured(
    engine: Engine, collection: Collection, options: argparse.Namespace, retriever: str
) -> dict[str, float]:
    """Every query's value."""
    qrels, topics = collection.qrels(None), collection.topics(None)
    most = options.queries or (QUICK_QUERIES if options.quick else None)
    ids = [id for id in topics if id in qrels][:most]
    run: dict[str, dict[str, float]] = {}
    own = themselves(engine.snapshot, topics, qrels)
    for start in range(0, len(ids), QUERIES_AT_ONCE):
        block = ids[start : start + QUERIES_AT_ONCE]
        found = engine.rank([topics[id] for id in block], K + 1, retriever=retriever)
        run.update(run_of(block, found, k=K, themselves=own))
    return evaluate({id: qrels[id] for id in ids}, run, MEASURE).per_query[MEASURE]


def table(values: Values, names: Sequence[str]) -> str:
    """Markdown: a row a retriever and fit, a column a collection; sure differences are bold."""
    lines = [
        f"| {MEASURE} | " + " | ".join(names) + " | mean | against plain, over collections |",
        "|---" * (len(names) + 3) + "|",
    ]
    for name in (f"{retriever} {system}" for retriever in RETRIEVERS for system in SYSTEMS):
        retriever, system = name.split()
        found = values[name]
        plain = values[f"{retriever} plain"]
        cells = []
        for collection in names:
            mean = sum(found[collection].values()) / len(found[collection])
            sure = compare(found[collection], plain[collection]).p < SIGNIFICANT
            cells.append(f"**{mean:.3f}**" if sure and system != "plain" else f"{mean:.3f}")
        whole = compare_pooled(found, plain, "collections")
        told = "" if system == "plain" else difference(whole)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {whole.a:.4f} | {told} |")
    return "\n".join(lines)


def difference(found: Comparison) -> str:
    """How far apart two systems are, and how sure that is."""
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p = {found.p:.2g}"


if __name__ == "__main__":
    main()
