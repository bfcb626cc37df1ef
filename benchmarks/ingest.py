"""How many documents a second go from text into an index: searchlib, bm25s and tantivy.

Two of ours: the structure alone, as bm25s makes it (analysis, posting lists in memory), and the
engine as it is used (ids checked, texts and content hashes stored, two BM25 fields, everything on
the disk and synced). Each system takes the texts as strings and analyses them itself, with
English stop words and stemming; bm25s also without stemming, which it leaves out by default.
In one process, in turn, on one thread, nothing remembered from round to round; medians.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from material import Material
from report import Result, judged, one_line_errors, parser, print_results, provenance, say
from rounds import installed, turns

from indexes.builder import PostingsBuilder
from searchlib import Document, Engine
from searchlib.config import Settings
from searchlib.encoders.analyzer import Analyzer
from searchlib.errors import BadQuery

TASK = "index texts, BM25"
STRUCTURE, WHOLE = "searchlib structure", "searchlib engine"
SIZES, QUICK_SIZES = (100_000,), (10_000,)
BATCH = 1024  # texts analysed together, as the engine does
HEAP = 1 << 28  # bytes of tantivy's writer


def ingest_rows(texts: Sequence[str], rounds: int = 5) -> list[Result]:
    """Documents a second, of wall and of CPU time, of every system that is installed.

    And how many times as fast we are as each peer, by CPU time.
    """
    with tempfile.TemporaryDirectory() as folder:
        actions: dict[str, Callable[[], object]] = {
            STRUCTURE: partial(structure, texts),
            WHOLE: partial(engine, texts, Path(folder)),
            **_peers(texts, Path(folder)),
        }
        took = turns(actions, rounds)
    size = len(texts)
    results = []
    for name, (wall, cpu) in took.items():
        results.append(Result(name, TASK, size, "docs/s", size / wall))
        results.append(Result(name, TASK, size, "docs/s/core", size / cpu))
    for name in list(took)[2:]:
        for ours in (STRUCTURE, WHOLE):
            ratio = Result(ours, TASK, size, f"x {name}", took[name][1] / took[ours][1])
            results.append(judged(ratio, ">= 2") if name.startswith("bm25s") else ratio)
    return results


def structure(texts: Sequence[str]) -> object:
    """Analyses the texts and makes their posting lists, in memory."""
    analyzer, builder = Analyzer(), PostingsBuilder("count")
    for start in range(0, len(texts), BATCH):
        builder.add(analyzer.encode_document(texts[start : start + BATCH]))
    return builder.build()


def engine(texts: Sequence[str], folder: Path) -> object:
    """Makes an index without models, as a user does; it is on the disk when this returns."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "index"
    with Engine.create(path, Settings(dense_model=None, sparse_model=None)) as made:
        return made.add(Document(str(i), text) for i, text in enumerate(texts))


def _peers(texts: Sequence[str], folder: Path) -> dict[str, Callable[[], object]]:
    peers: dict[str, Callable[[], object]] = {}
    if installed("bm25s", "bm25s"):
        import Stemmer

        peers["bm25s"] = partial(_bm25s, texts, Stemmer.Stemmer("porter"))
        peers["bm25s without stemming"] = partial(_bm25s, texts, None)
    if installed("tantivy", "tantivy"):
        peers["tantivy"] = partial(_tantivy, texts, folder)
    return peers


def _bm25s(texts: Sequence[str], stemmer: Any) -> object:
    import bm25s

    tokens = bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)
    made = bm25s.BM25(method="lucene")
    made.index(tokens, show_progress=False)
    return made


def _tantivy(texts: Sequence[str], folder: Path) -> object:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
    made = tantivy.Index(builder.build(), path=tempfile.mkdtemp(dir=folder))
    writer = made.writer(heap_size=HEAP, num_threads=1)
    for text in texts:
        document = tantivy.Document()
        document.add_text("text", text)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    return made


def arguments() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__ or "", "python benchmarks/ingest.py --lines texts.txt --sizes 100000")
    made.add_argument("--lines", type=Path, help="texts, one a line (.xz: compressed)")
    made.add_argument(
        "--sizes", nargs="+", type=int, metavar="N",
        help=f"documents (default: {' '.join(map(str, SIZES))})",
    )  # fmt: skip
    made.add_argument("--rounds", type=int, help="measured rounds; default: 5, quick: 2")
    return made.parse_args()


def main() -> None:
    options = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with one_line_errors():
        rounds = options.rounds if options.rounds is not None else 2 if options.quick else 5
        if rounds < 1:
            raise BadQuery(f"illegal rounds: {rounds}, must be at least 1")
        material = Material(lines=options.lines)
        say(json.dumps(provenance()))
        for size in options.sizes or (QUICK_SIZES if options.quick else SIZES):
            if size < 100:
                raise BadQuery(f"illegal size {size}, must be at least 100 documents")
            print_results(ingest_rows(material.texts(size), rounds), TASK)


if __name__ == "__main__":
    main()
