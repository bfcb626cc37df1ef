"""What stands first, by kind of query: identifiers, spellings, paraphrases, umlauts and the like.

The documents and queries in `kinds_data` were written for this. success@1 is the share of queries
whose first hit is one that ought to be first, MRR@10 the mean of 1 / its rank, both of the order
in which a user sees the hits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib import Document, Engine, Settings
from searchlib.errors import BadQuery, shown

DATA = Path(__file__).parent / "kinds_data"
CORPORA = ("handbook", "code", "news", "desk", "shop")  # --quick: the first alone
RETRIEVERS = ("bm25", "sparse", "dense", "hybrid", "instant")
KINDS = (
    "id", "id_sent", "path", "name", "number", "operator", "spelling", "typo", "umlaut", "plural",
    "capitals", "quoted", "title", "sentence", "two words", "common", "stop", "question", "long",
    "negation", "paraphrase", "cross-lingual",
)  # fmt: skip
ALL = "all kinds"
K = 10


@dataclass(frozen=True)
class Query:
    """A line of `kinds_data/*.queries.jsonl`."""

    id: str
    kind: str
    text: str
    relevant: tuple[str, ...]  # any of these documents may be first


@dataclass(frozen=True)
class Answer:
    """What a retriever said to a query."""

    corpus: str
    query: Query
    retriever: str
    found: tuple[str, ...]  # ids of documents, best first, at most K

    @property
    def rank(self) -> int | None:
        """Of the first document that ought to be first, from 1; None if it is not among the K."""
        ranks = (n for n, id in enumerate(self.found, start=1) if id in self.query.relevant)
        return next(ranks, None)


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/kinds.py shop desk --failures")
    made.add_argument("corpora", nargs="*", help=f"of {', '.join(CORPORA)}; default: all")
    made.add_argument("--retrievers", nargs="+", default=RETRIEVERS, help="default: %(default)s")
    made.add_argument(
        "--failures", action="store_true", help="say on stderr which queries' first hit is wrong"
    )
    made.add_argument("--device", help="cpu, cuda, mps")
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        corpora = chosen(options.corpora, CORPORA, "corpus")
        retrievers = chosen(options.retrievers, RETRIEVERS, "retriever")
        say(json.dumps(provenance()))
        answers = [
            answer
            for corpus in (corpora[:1] if options.quick else corpora)
            for answer in answered(corpus, retrievers, options.device)
        ]
        if options.failures:
            for answer in answers:
                if answer.rank != 1:
                    say(failure(answer))
        print_results(results(answers), "kinds of query")


def chosen(names: list[str], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """The names, or all that are known if there is none. Raises BadQuery for an unknown one."""
    for name in names:
        if name not in known:
            raise BadQuery(f"no {what} is called {shown(name)}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(names)) or known


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The records of a file in `kinds_data`."""
    with (DATA / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def documents(corpus: str) -> list[Document]:
    """A corpus's documents, as they are indexed."""
    return [
        Document(line["_id"], line["text"], title=line["title"])
        for line in lines(f"{corpus}.corpus.jsonl")
    ]


def queries(corpus: str) -> list[Query]:
    """A corpus's queries."""
    return [
        Query(line["_id"], line["kind"], line["text"], tuple(line["relevant"]))
        for line in lines(f"{corpus}.queries.jsonl")
    ]


def answered(corpus: str, retrievers: tuple[str, ...], device: str | None) -> Iterator[Answer]:
    """What the retrievers say to the corpus's queries; no model is loaded where all are bm25."""
    words_only = set(retrievers) == {"bm25"}
    settings = Settings(sparse_model=None, dense_model=None) if words_only else Settings()
    asked = queries(corpus)
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine.create(Path(folder) / corpus, settings, device=device) as engine,
    ):
        engine.add(documents(corpus))
        for retriever in retrievers:
            rankings = engine.rank([query.text for query in asked], K, retriever=retriever)
            for query, ranking in zip(asked, rankings, strict=True):
                yield Answer(corpus, query, retriever, tuple(ranking.ids))


def results(answers: list[Answer]) -> Iterator[Result]:
    """success@1 and MRR@10 of every kind and retriever, and of all kinds together."""
    groups: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        for task in (answer.query.kind, ALL):
            groups[task, answer.retriever].append(answer)
    for task in (*KINDS, ALL):
        for retriever in RETRIEVERS:
            ranks = [answer.rank for answer in groups[task, retriever]]
            if ranks:
                first = sum(rank == 1 for rank in ranks) / len(ranks)
                reciprocal = sum(1 / rank for rank in ranks if rank) / len(ranks)
                yield Result(retriever, task, len(ranks), "success@1", first)
                yield Result(retriever, task, len(ranks), f"MRR@{K}", reciprocal)


def failure(answer: Answer) -> str:
    """One line: who failed at which query, what was first, and where what ought to be was."""
    wanted = " or ".join(answer.query.relevant[:3])
    place = f"rank {answer.rank}" if answer.rank else f"not among {K}"
    first = answer.found[0] if answer.found else "nothing"
    text = shown(answer.query.text)
    kind = f"{answer.retriever}, {answer.query.kind}, {answer.corpus}"
    return f"{kind}: {text}: first is {first}; {wanted}: {place}"


if __name__ == "__main__":
    main()
