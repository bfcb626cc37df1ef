"""How good are the answers? Every retriever and every fusion over BEIR collections.

Indexes go into a cache folder and are used again. Results are printed, and written with their
provenance as Markdown, JSON and a plot. "hybrid" is the default fusion of searchlib; the others
stand beside it so that the choice can be checked: the default was chosen on these figures. With
--quick: 20 queries of the smallest collection over a part of its documents, to see that all works.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from effectiveness_tables import Measured, compare_with_default, write
from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib.errors import BadQuery, NotFound
from searchlib.evaluation import Collection, evaluate, parse_measures, run_of, themselves, write_run

if TYPE_CHECKING:
    from searchlib import Engine, Settings

QUICK_QUERIES = 20
QUICK_DOCUMENTS = 300  # besides the judged ones
QUERIES_AT_ONCE = 128
SECONDS_BETWEEN_LINES = 10.0


def arguments() -> argparse.Namespace:
    made = parser(
        __doc__ or "",
        "python benchmarks/effectiveness.py --data path/to/beir --out build/effectiveness",
    )
    add_collections(made)
    made.add_argument("--split", help="which judgements (default: test, else dev)")
    made.add_argument("--measures", default="nDCG@10,R@100", help="default: %(default)s")
    made.add_argument("--queries", type=int, help="at most so many queries a collection, drawn")
    made.add_argument(
        "--passages", choices=("split", "one"), default="split",
        help="one: a document is one passage, cut at the model's window",
    )  # fmt: skip
    made.add_argument("--passage-tokens", type=int, help="a passage's length in word-pieces")
    made.add_argument("--dense-kind", choices=("auto", "exact", "pq"), default="auto")
    made.add_argument("--dense-model", help="a folder or a name")
    made.add_argument("--sparse-model", help="a folder or a name")
    made.add_argument("--systems", nargs="*", help="only these (default: all)")
    made.add_argument("-k", type=int, default=100, help="documents a query; default: %(default)s")
    made.add_argument("--depth", type=int, default=50, help="fusion's pool; default: %(default)s")
    add_place(made)
    made.add_argument("--out", type=Path, default=Path("build/effectiveness"), help="for results")
    made.add_argument("--runs", action="store_true", help="write the runs too, as TREC files")
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        parse_measures(options.measures)
        collections = chosen_collections(options, options.split)
        settings = chosen_settings(options)
        measured = Measured()
        say(json.dumps(provenance()))
        print_results(
            (r for c in collections for r in measure(c, settings, options, measured)),
            "effectiveness",
        )
        comparisons = compare_with_default(measured, options.measures)
        write(measured, comparisons, settings.to_json(), options.out)


def add_collections(made: argparse.ArgumentParser) -> None:
    """The options that `chosen_collections` reads."""
    made.add_argument("collections", nargs="*", type=Path, help="BEIR folders")
    made.add_argument("--data", type=Path, help="a folder of BEIR folders: all of them")


def add_place(made: argparse.ArgumentParser) -> None:
    """The options that say where `opened` keeps indexes, and where models run."""
    made.add_argument("--device", help="cpu, cuda, mps")
    made.add_argument("--cache", type=Path, default=Path("build/indexes"), help="for indexes")


def chosen_collections(options: argparse.Namespace, split: str | None = None) -> list[Collection]:
    """The collections named, smallest corpus first; with --quick only that.

    `split`: which judgements are there for certain (default: test, else dev).
    """
    folders = list(options.collections)
    if options.data is not None:
        if not options.data.is_dir():
            raise NotFound(f"{options.data}: no such folder")
        folders += [f for f in sorted(options.data.iterdir()) if (f / "qrels").is_dir()]
    if not folders:
        raise BadQuery("no collection; give BEIR folders, or --data with a folder of them")
    collections = sorted(map(Collection, folders), key=lambda c: c.corpus.stat().st_size)
    names = Counter(collection.name for collection in collections)
    if twice := [name for name, count in names.items() if count > 1]:
        raise BadQuery(f"two collections are called {twice[0]!r}; rename a folder")
    queries = vars(options).get("queries")  # not every benchmark asks for fewer
    if queries is not None and queries < 1:
        raise BadQuery(f"illegal --queries: {queries}, must be 1 or more")
    for collection in collections:  # whatever is wrong with one is said before hours of work
        collection.qrels(split), collection.topics(split)
    return collections[:1] if options.quick else collections


def drawn(
    collection: Collection, options: argparse.Namespace, split: str | None = None
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The judged queries (id -> text) and their judgements.

    At most --queries, with --quick still fewer; always the same.
    """
    topics, qrels = collection.topics(split), collection.qrels(split)
    most = options.queries or (QUICK_QUERIES if options.quick else None)
    if most is not None and most < len(topics):
        kept = set(random.Random(0).sample(sorted(topics), most))
        topics = {id: text for id, text in topics.items() if id in kept}
        qrels = {id: judged for id, judged in qrels.items() if id in kept}
    return topics, qrels


def chosen_settings(options: argparse.Namespace) -> Settings:
    """An index's settings, from the options."""
    from searchlib import Settings

    defaults = Settings()
    return Settings(
        dense_model=options.dense_model or defaults.dense_model,
        sparse_model=options.sparse_model or defaults.sparse_model,
        max_passages=1 if options.passages == "one" else None,
        passage_tokens=options.passage_tokens or defaults.passage_tokens,
        dense_kind=options.dense_kind,
    )


def measure(
    collection: Collection, settings: Settings, options: argparse.Namespace, measured: Measured
) -> Iterator[Result]:
    """Results of every system over one collection; also put into `measured`."""
    from fusions import systems

    topics, qrels = drawn(collection, options, options.split)
    needed = {id for judged in qrels.values() for id in judged} if options.quick else None
    with opened(collection, settings, options.cache, options.device, needed) as engine:
        documents = engine.info()["documents"]
        measured.sizes[collection.name] = documents
        found, memories = systems(engine, options.depth)
        wanted = options.systems or list(found)
        for unknown in set(wanted) - set(found):
            raise BadQuery(f"unknown system {unknown!r}; there are {', '.join(found)}")
        runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in wanted}
        own = themselves(engine.snapshot, topics, qrels)
        ids = list(topics)
        for start in range(0, len(ids), QUERIES_AT_ONCE):
            block = ids[start : start + QUERIES_AT_ONCE]
            texts = [topics[id] for id in block]
            for name in wanted:
                rankings = engine.rank(texts, options.k + 1, retriever=found[name])
                runs[name].update(run_of(block, rankings, k=options.k, themselves=own))
            for memory in memories:
                memory.forget()
            say(f"{collection.name}: {start + len(block)} of {len(ids)} queries")
    measured.results[collection.name] = {}
    for name, run in runs.items():
        results = evaluate(qrels, run, options.measures)
        measured.results[collection.name][name] = results
        for metric, value in results.mean.items():
            yield Result(name, collection.name, documents, metric, value)
        if options.runs:
            path = options.out / "runs" / collection.name / f"{name.replace(' ', '')}.run"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                write_run(run, file, tag=name.replace(" ", ""))


def opened(
    collection: Collection,
    settings: Settings,
    cache: Path,
    device: str | None,
    needed: set[str] | None = None,
) -> Engine:
    """The collection's index in the cache, made or brought up to date.

    `needed`: index only these documents and the first few others.
    """
    from indexes.manifest import VERSION
    from searchlib import Engine
    from searchlib.formats import ReadOptions, read_documents

    said = settings.to_json()
    del said["static_queries"]  # no document's concern
    corpus = collection.corpus.resolve()
    state = corpus.stat()  # another corpus of that name, or this one changed, is another index
    source = [str(corpus), state.st_size, state.st_mtime_ns]
    made_with = json.dumps([VERSION, said, source], sort_keys=True).encode()
    if needed is not None:
        made_with += json.dumps(sorted(needed)).encode()
    name = f"{collection.name}-{hashlib.blake2b(made_with, digest_size=4).hexdigest()}.index"
    path = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    if path.exists():
        engine = Engine.open(path, device=device)
    else:
        engine = Engine.create(path, settings, device=device)
    told = time.monotonic()

    def tell(done: int, total: int | None, note: str = "") -> None:
        nonlocal told
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            say(f"{collection.name}: {done} documents indexed {note}")

    documents = read_documents(collection.corpus, ReadOptions())
    if needed is not None:
        documents = (
            (document, origin)
            for number, (document, origin) in enumerate(documents)
            if number < QUICK_DOCUMENTS or document.id in needed
        )
    report = engine.add(documents, on_progress=tell)
    say(
        f"{collection.name}: {report.documents} documents, {report.unchanged} unchanged,"
        f" {report.passages} passages written, {report.seconds:.1f} s"
    )
    return engine


if __name__ == "__main__":
    main()
