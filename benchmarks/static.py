"""Static vectors against the model that they come from: what they lose, and how fast they are.

For each BEIR collection a model is distilled from its documents (as `searchlib distill` does).
The documents and test queries are encoded by both; ranked are all documents, by dense vectors
alone and by BM25 with dense vectors (z-scores over all documents, weights 0.5 and 1). `tokens
alone` is what model2vec does: the vocabulary through the model, SIF weights, nothing fitted; its
frequencies are the corpus's. `unseen half`: fitted to a random half of the documents, with all of
them ranked. Speed: documents a second of CPU time on one thread, in turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from encode import documents as mixed_documents
from encode import on_threads
from numpy.typing import NDArray
from report import Result, judged, one_line_errors, parser, print_results, provenance, say

from searchlib.encoders.analyzer import Analyzer
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.models import DENSE_DEFAULT
from searchlib.encoders.pooling import normalize
from searchlib.encoders.static import LONGEST
from searchlib.encoders.tokenizing import Tokenizer
from searchlib.evaluation.collection import Collection
from searchlib.evaluation.measures import evaluate
from searchlib.formats import read_documents
from searchlib.passages import passage_text
from searchlib.training.distill import Sample, bags, encode_all, prior
from searchlib.training.static_model import distill_model

FASTER = ">= 50"
Array = NDArray[np.float32]


def quality(folder: Path, options: argparse.Namespace) -> Iterator[Result]:
    """nDCG@10 of the model, of static vectors, and of tokens alone."""
    collection = Collection(folder)
    name = collection.name
    documents = [document for document, _ in read_documents(folder)]
    texts = [passage_text(document.title, document.text) for document in documents]
    ids = [document.id for document in documents]
    topics = dict(list(collection.topics().items())[: options.queries])
    qrels = {query: collection.qrels()[query] for query in topics}
    asked = list(topics.values())
    teacher = DenseEncoder(options.dense_model)
    say(f"{name}: encoding {len(texts):,} documents and {len(asked):,} queries")
    rows = kept(options.cache, f"{name}.doc.dense", teacher, texts)
    words = bm25(texts, asked)
    made = {"the model": (rows, kept(options.cache, f"{name}.asked{len(asked)}", teacher, asked))}
    usable = np.array([i for i, text in enumerate(texts) if text.strip()])
    half = np.sort(np.random.default_rng(0).permutation(usable)[: len(usable) // 2])
    with tempfile.TemporaryDirectory() as place:
        for system, chosen in (("static", usable), ("static, unseen half", half)):
            path = Path(place) / system
            sample = Sample([texts[i] for i in chosen.tolist()], rows[chosen])
            started = time.process_time()
            say(f"{name}: distilling, {system}")
            distill_model(
                sample, options.dense_model, path, dimension=options.dimension, words=options.words,
                alone=kept_vocabulary(options.cache, teacher) if not options.words else None,
            )  # fmt: skip
            yield Result(system, name, len(chosen), "CPU s to fit", time.process_time() - started)
            student = DenseEncoder(path)
            made[system] = student.encode_document(texts), student.encode_query(asked)
    made["tokens alone"] = tokens_alone(teacher, texts, asked, options.cache)
    for system, (left, right) in made.items():
        scores = right @ left.T
        for label, found in (("dense", scores), ("BM25 + dense", 0.5 * z(words) + z(scores))):
            value = evaluate(qrels, ranking(found, list(topics), ids), "nDCG@10").mean["nDCG@10"]
            yield Result(system, name, len(topics), f"nDCG@10 {label}", value)


def tokens_alone(
    teacher: DenseEncoder, texts: list[str], asked: list[str], cache: Path
) -> tuple[Array, Array]:
    """Documents and queries by the vectors that tokens have alone, weighted by SIF."""
    alone = kept_vocabulary(cache, teacher)
    tokenizer = Tokenizer(teacher.folder.path, LONGEST)
    left, right = (bags(tokenizer.words(some), len(alone)) for some in (texts, asked))
    vectors = prior(alone, np.asarray(left.sum(axis=0)).ravel())
    return normalize(left @ vectors), normalize(right @ vectors)


def kept(cache: Path, name: str, teacher: DenseEncoder, texts: list[str]) -> Array:
    """The model's vectors, encoded once."""
    path = cache / f"{name}.{teacher.fingerprint[:12]}.npy"
    if path.is_file():
        found: Array = np.load(path, allow_pickle=False)
        if len(found) == len(texts):
            return found
    cache.mkdir(parents=True, exist_ok=True)
    found = encode_all(teacher, texts, lambda done, total, note="": None)
    np.save(path, found)
    return found


def kept_vocabulary(cache: Path, teacher: DenseEncoder) -> Array:
    """The vector of each token alone."""
    from searchlib.training.static_model import token_texts

    return kept(cache, "vocabulary", teacher, token_texts(teacher.tokenizer))


def bm25(texts: list[str], asked: list[str], k1: float = 0.9, b: float = 0.4) -> Array:
    """BM25 of every document for every query, (queries, documents), as searchlib's own."""
    import scipy.sparse as sp

    analyzer = Analyzer()
    left, right = analyzer.encode_document(texts), analyzer.encode_query(asked)
    column = {term: i for i, term in enumerate(left.terms)}
    shape = (len(texts), len(column))
    counts = sp.csr_matrix((left.values, left.indices, left.indptr), shape=shape)
    wanted = sp.csr_matrix(
        (right.values, right.indices, right.indptr), shape=(len(asked), len(right.terms))
    )
    known = [(i, column[term]) for i, term in enumerate(right.terms) if term in column]
    rows, columns = zip(*known, strict=True) if known else ((), ())
    ones = np.ones(len(rows))
    places = len(right.terms), len(column)
    moved: Any = wanted @ sp.csr_matrix((ones, (rows, columns)), shape=places)
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    frequency = np.bincount(counts.indices, minlength=len(column))
    idf = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
    entries = counts.tocoo()
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    weights = entries.data / (entries.data + norm[entries.row]) * idf[entries.col]
    impacts: Any = sp.csr_matrix((weights, (entries.row, entries.col)), shape=shape)
    found: Array = (moved @ impacts.T).toarray().astype(np.float32)
    return found


def z(scores: Array) -> Array:
    """Each query's scores less their mean, over their deviation."""
    deviation = scores.std(axis=1, keepdims=True)
    found: Array = (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-9)
    return found


def ranking(scores: Array, queries: list[str], ids: list[str]) -> dict[str, dict[str, float]]:
    """The best documents of each query; a query's own id is never a result."""
    run = {}
    for query, row in zip(queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:12]
        run[query] = {ids[i]: float(row[i]) for i in best.tolist() if ids[i] != query}
    return run


def speed(options: argparse.Namespace) -> Iterator[Result]:
    """Documents a second of CPU time, of the model and of its static vectors, on one thread."""
    texts = mixed_documents(options.documents, None)
    teacher = DenseEncoder(options.dense_model)
    with tempfile.TemporaryDirectory() as place, on_threads(1):
        path = Path(place) / "static"
        sample = Sample(texts[:20], teacher.encode_document(texts[:20]))
        alone = kept_vocabulary(options.cache, teacher)
        distill_model(sample, options.dense_model, path, alone=alone, dimension=options.dimension)
        student = DenseEncoder(path)
        student.encode_document(texts[:2])
        used: dict[str, list[float]] = {"the model": [], "static": []}
        for _ in range(options.rounds):
            for system, encoder in (("the model", teacher), ("static", student)):
                started = time.thread_time()
                encoder.encode_document(texts)
                used[system].append(time.thread_time() - started)
    for system, seconds in used.items():
        yield Result(system, "encode", len(texts), "docs/s", len(texts) / median(seconds))
    times = median(a / b for a, b in zip(used["the model"], used["static"], strict=True))
    yield judged(Result("static", "encode", len(texts), "x the model", times), FASTER)


def measure(options: argparse.Namespace) -> Iterator[Result]:
    """Every figure; the mean over the collections last."""
    means: dict[tuple[str, str], list[float]] = {}
    for folder in options.collections:
        for result in quality(folder, options):
            yield result
            if result.metric.startswith("nDCG"):
                means.setdefault((result.system, result.metric), []).append(result.value)
    for (system, metric), values in means.items():
        yield Result(system, "mean", len(values), metric, float(np.mean(values)))
    yield from speed(options)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    made = parser(__doc__ or "", "python benchmarks/static.py data/scifact data/cisi")
    made.add_argument("collections", nargs="*", type=Path, help="BEIR folders")
    made.add_argument("--dense-model", default=DENSE_DEFAULT, help="name or folder")
    made.add_argument("--dimension", type=int, help="of static vectors (default: the model's)")
    made.add_argument("--words", type=int, default=0, help="whole words added (default: 0)")
    made.add_argument("--queries", type=int, default=1000, help="at most so many of a collection")
    made.add_argument("--documents", type=int, default=64, help="whose encoding is timed")
    made.add_argument("--rounds", type=int, default=3, help="of timing (default: 3)")
    made.add_argument("--cache", type=Path, default=Path("build/static"),
                      help="for what the model encoded; default: %(default)s")  # fmt: skip
    return made


def main() -> None:
    options = arguments().parse_args()
    with one_line_errors():
        say(json.dumps(provenance()))
        print_results(measure(options), "static vectors")


if __name__ == "__main__":
    main()
