"""Does a blend pay? Sparse and hybrid before and after `searchlib blend`, over BEIR collections.

"own" is fitted to the collection itself, "others" to all the other collections given, which tells
what a map that came with a model would bring. Nothing is fitted to queries or judgements. The
index of each collection is re-encoded from its stored rows in a copy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from effectiveness import QUERIES_AT_ONCE, QUICK_QUERIES, chosen_collections, opened
from report import one_line_errors, parser, provenance, say

from searchlib.evaluation import Collection, Comparison, compare, compare_pooled, evaluate, run_of

if TYPE_CHECKING:
    from searchlib import Engine
    from searchlib.training.blending import Sums

RETRIEVERS = ("sparse", "hybrid")
SYSTEMS = ("plain", "own", "others")
MEASURE = "nDCG@10"
SIGNIFICANT = 0.05
K = 100

Values = dict[str, dict[str, dict[str, float]]]  # "sparse own" -> collection -> query -> value


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/blending.py --data path/to/beir")
    made.add_argument("collections", nargs="*", type=Path, help="BEIR folders")
    made.add_argument("--data", type=Path, help="a folder of BEIR folders: all of them")
    made.add_argument("--queries", type=int, help="at most so many a collection")
    made.add_argument("--document-share", type=float, help="default: blend's")
    made.add_argument("--query-share", type=float, help="default: blend's")
    made.add_argument("--extra-query-terms", type=int, help="default: blend's")
    made.add_argument("--device", help="cpu, cuda, mps")
    made.add_argument("--cache", type=Path, default=Path("build/indexes"), help="for indexes")
    return made.parse_args()


def main() -> None:
    from searchlib import Settings
    from searchlib.training.blending import DOCUMENT_SHARE, EXTRA, QUERY_SHARE

    options = arguments()
    shares = (
        DOCUMENT_SHARE if options.document_share is None else options.document_share,
        QUERY_SHARE if options.query_share is None else options.query_share,
        EXTRA if options.extra_query_terms is None else options.extra_query_terms,
    )
    with one_line_errors():
        say(json.dumps(provenance()))
        collections = chosen_collections(options)
        settings = Settings(max_passages=1)
        sums: dict[str, Sums] = {}
        values: Values = {}
        for collection in collections:
            with opened(collection, settings, options.cache, options.device) as engine:
                sums[collection.name] = summed(engine)
                measure(engine, collection, options, "plain", values)
        for collection in collections:
            with opened(collection, settings, options.cache, options.device) as engine:
                others = [sums[other.name] for other in collections if other is not collection]
                fits = {"own": [sums[collection.name]], "others": others}
                for system, fitted in fits.items():
                    if fitted:
                        with blended(engine, fitted, shares, options.device) as other:
                            measure(other, collection, options, system, values)
        print(table(values, [collection.name for collection in collections]))


def summed(engine: Engine) -> Sums:
    """X'X and X'Y of an index's passages."""
    from searchlib.training.blending import (
        PASSAGES,
        Blocks,
        Sums,
        drawn_passages,
        index_encoders,
    )

    sparse, _ = index_encoders(engine)
    blocks = Blocks(engine, sparse.tokenizer)
    made = Sums(blocks.dimension, sparse.tokenizer.size)
    for vectors, terms, ids in blocks.read(drawn_passages(engine, PASSAGES, 0)):
        made.add(vectors, terms, ids)
    return made


@contextmanager
def blended(
    engine: Engine, sums: Sequence[Sums], shares: tuple[float, float, int], device: str | None
) -> Iterator[Engine]:
    """A copy of an index that is re-encoded with a map fitted to these sums."""
    from searchlib import Engine
    from searchlib.encoders.blend import ridge
    from searchlib.training.blend_folder import Report, write_blend
    from searchlib.training.blending import index_encoders

    started = time.monotonic()
    squares, products = sums[0].squares, sums[0].products
    for more in sums[1:]:
        squares, products = squares + more.squares, products + more.products
    settings = engine.settings
    sparse, dense = str(settings.sparse_model), str(settings.dense_model)
    report = Report("", sparse, dense, 0, 0, 0.0, 0.0, *shares, 0, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        model, copy = Path(folder) / "model", Path(folder) / "copy.index"
        write_blend(model, ridge(squares, products), index_encoders(engine)[1].fingerprint, report)
        shutil.copytree(engine.path, copy)
        with Engine.open(copy, device=device) as other:
            done = other.reencode(replace(settings, sparse_model=str(model)))
            taken = time.monotonic() - started
            say(f"{done.known} passages blended, {done.encoded} encoded, {taken:.1f} s")
            yield other


def measure(
    engine: Engine, collection: Collection, options: argparse.Namespace, system: str, values: Values
) -> None:
    """Put every query's value into `values`."""
    qrels, topics = collection.qrels(None), collection.topics(None)
    most = options.queries or (QUICK_QUERIES if options.quick else None)
    ids = [id for id in topics if id in qrels][:most]
    for retriever in RETRIEVERS:
        run: dict[str, dict[str, float]] = {}
        for start in range(0, len(ids), QUERIES_AT_ONCE):
            block = ids[start : start + QUERIES_AT_ONCE]
            found = engine.rank([topics[id] for id in block], K + 1, retriever=retriever)
            run.update(run_of(block, found, k=K))
        found_values = evaluate({id: qrels[id] for id in ids}, run, MEASURE).per_query[MEASURE]
        values.setdefault(f"{retriever} {system}", {})[collection.name] = found_values


def table(values: Values, names: Sequence[str]) -> str:
    """Markdown: a row a retriever and fit, a column a collection; sure differences are bold."""
    lines = [
        f"| {MEASURE} | " + " | ".join(names) + " | mean | against plain, over collections |",
        "|---" * (len(names) + 3) + "|",
    ]
    for name, found in values.items():
        retriever, system = name.split()
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
