"""What do an idf and a length do for learned sparse vectors, and what does a table lose?

Every document is one text, cut at the model's window, encoded once (kept in the cache folder);
scores are brute force by scipy. "idf p" multiplies a query's weights by the collection's idf ** p,
"length a" divides a document's by their Euclidean length ** a; "table" has queries without a model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from report import one_line_errors, parser, say

from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.models import SPARSE_BASE
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import BadQuery
from searchlib.evaluation import Collection, evaluate
from searchlib.formats import read_documents
from searchlib.passages import passage_text
from searchlib.types import TermVectors

Csr = Any
POWERS = ((0.0, 0.0), (0.75, 0.0), (0.0, 0.3), (0.5, 0.3), (0.75, 0.3), (1.0, 0.3), (0.75, 0.5))
DEFAULT = (0.75, 0.3)


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/weighting.py path/to/beir/cisi")
    made.add_argument("collections", nargs="+", type=Path, help="BEIR folders")
    made.add_argument("--queries", type=int, default=1500, help="at most so many a collection")
    made.add_argument("--max-tokens", type=int, default=256, help="of a document")
    made.add_argument("--cache", type=Path, default=Path("build/weighting"), help="for vectors")
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        if options.queries < 1:
            raise BadQuery(f"illegal --queries: {options.queries}, must be at least 1")
        columns = [dict(measured(Collection(folder), options)) for folder in options.collections]
        names = [folder.name for folder in options.collections]
        print("| nDCG@10 |", " | ".join([*names, "mean"]), "|")
        print("|---" * (len(names) + 2) + "|")
        for row in columns[0]:
            values = [column[row] for column in columns]
            print(
                f"| {row} |", " | ".join(f"{v:.4f}" for v in [*values, float(np.mean(values))]), "|"
            )


def measured(collection: Collection, options: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """(what, nDCG@10) of one collection."""
    topics = dict(list(collection.topics(None).items())[: options.queries])
    qrels = {id: judged for id, judged in collection.qrels(None).items() if id in topics}
    model = SparseEncoder(SPARSE_BASE, max_tokens=options.max_tokens)
    ids, documents, columns = encoded(collection, model, options.cache)
    queries = aligned(model.encode_query(list(topics.values())), columns)
    table = aligned(LookupEncoder(SPARSE_BASE).encode_query(list(topics.values())), columns)

    def ndcg(asked: Csr, power: float, length: float) -> float:
        scores = (asked @ sp.diags(idf(documents) ** power)) @ shortened(documents, length).T
        run = {
            topic: best(row, ids, topic)
            for topic, row in zip(topics, scores.toarray(), strict=True)
        }
        return float(evaluate(qrels, run, "nDCG@10").mean["nDCG@10"])

    for power, length in POWERS:
        yield f"model, idf {power:g}, length {length:g}", ndcg(queries, power, length)
    yield f"table, idf {DEFAULT[0]:g}, length {DEFAULT[1]:g}", ndcg(table, *DEFAULT)


def encoded(
    collection: Collection, model: SparseEncoder, cache: Path
) -> tuple[list[str], Csr, dict[str, int]]:
    """The documents' ids, weights (n, m), and the column of each term."""
    texts = {d.id: passage_text(d.title, d.text) for d, _ in read_documents(collection.corpus)}
    path = cache / f"{collection.name}-{model.fingerprint}.npz"
    terms = path.with_suffix(".json")
    if not terms.is_file():
        say(f"{collection.name}: {len(texts)} documents to encode")
        made = model.encode_document(list(texts.values()))
        cache.mkdir(parents=True, exist_ok=True)
        shape = (len(made), len(made.terms))
        sp.save_npz(path, sp.csr_matrix((made.values, made.indices, made.indptr), shape))
        terms.write_text(json.dumps(list(made.terms)))
    columns = {term: i for i, term in enumerate(json.loads(terms.read_text()))}
    return list(texts), sp.load_npz(path), columns


def aligned(vectors: TermVectors, columns: dict[str, int]) -> Csr:
    """Queries over the documents' columns; terms of no document go."""
    known = np.array([columns.get(term, -1) for term in vectors.terms], np.int64)
    rows = np.repeat(np.arange(len(vectors)), np.diff(vectors.indptr))
    places = known[vectors.indices]
    keep = places >= 0
    shape = (len(vectors), len(columns))
    return sp.csr_matrix((vectors.values[keep], (rows[keep], places[keep])), shape)


def idf(documents: Csr) -> Any:
    """ln(1 + (N - df + 0.5) / (df + 0.5)) of each column."""
    df = np.bincount(documents.indices, minlength=documents.shape[1])
    return np.log1p((documents.shape[0] - df + 0.5) / (df + 0.5))


def shortened(documents: Csr, power: float) -> Csr:
    """Each row over its Euclidean length to that power."""
    lengths = np.sqrt(np.asarray(documents.power(2).sum(axis=1)).ravel())
    return sp.diags(np.maximum(lengths, 1e-9) ** -power) @ documents


def best(scores: Any, ids: list[str], topic: str) -> dict[str, float]:
    """The 10 best documents; a query's own id is no result."""
    order = np.argsort(-scores, kind="stable")[:11]
    return {ids[i]: float(scores[i]) for i in order.tolist() if ids[i] != topic}


if __name__ == "__main__":
    main()
