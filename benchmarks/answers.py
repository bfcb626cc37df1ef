"""Is the answer inside the best passages? For long documents, where finding the document is easy.

Takes a BEIR folder with an `answers.jsonl` of {"query-id", "corpus-id", "answer"}. A passage
answers a query if it holds the whole answer, but for white space. `answer@1` and `answer@5` are
the shares of queries that one of the first 1 or 5 passages answers; `shown@1` and `shown@5`, those
of which one of these passages' snippets shows an answer's first 60 characters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from effectiveness import add_place, opened
from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib.errors import BadInput, NotFound
from searchlib.evaluation import Collection

if TYPE_CHECKING:
    from searchlib import Engine

DEPTHS = (1, 5)
QUICK_QUERIES = 40
BEGINNING = 60  # characters: a snippet has room for 240


def read_answers(path: Path) -> dict[str, list[str]]:
    """Query id -> its answers, white space made single."""
    if not path.is_file():
        raise NotFound(f"{path}: no such file; this benchmark needs the answers' texts")
    answers: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            answers.setdefault(record["query-id"], []).append(plain(record["answer"]))
        except (ValueError, KeyError, TypeError):
            raise BadInput(f"{path}:{number}: expected query-id and answer") from None
    return answers


def plain(text: str) -> str:
    """The text with single blanks, in lower case."""
    return " ".join(text.lower().split())


def texts_of(corpus: Path) -> dict[str, str]:
    """Document id -> text."""
    from searchlib.formats import ReadOptions, read_documents

    return {document.id: document.text for document, _ in read_documents(corpus, ReadOptions())}


def measure(
    engine: Engine,
    name: str,
    texts: dict[str, str],
    topics: dict[str, str],
    answers: dict[str, list[str]],
) -> Iterator[Result]:
    """Shares of queries answered, for every retriever of the engine."""
    for retriever in engine.retriever_names():
        say(f"{retriever}: {len(topics)} queries")
        answered, shown = dict.fromkeys(DEPTHS, 0), dict.fromkeys(DEPTHS, 0)
        for id, query in topics.items():
            hits = engine.search(query, max(DEPTHS), retriever=retriever, unit="passage")
            pieces = [plain(texts[hit.document][hit.start : hit.end]) for hit in hits]
            snippets = [plain(hit.snippet.replace("**", "")) for hit in hits]
            beginnings = [answer[:BEGINNING] for answer in answers[id]]
            for depth in DEPTHS:
                answered[depth] += holds_one(pieces[:depth], answers[id])
                shown[depth] += holds_one(snippets[:depth], beginnings)
        for metric, counts in (("answer", answered), ("shown", shown)):
            for depth in DEPTHS:
                share = counts[depth] / len(topics)
                yield Result(retriever, name, len(texts), f"{metric}@{depth}", share)


def holds_one(texts: list[str], wanted: list[str]) -> bool:
    """Whether one of the texts holds one of those that are wanted."""
    return any(one in text for text in texts for one in wanted)


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/answers.py path/to/beir/collection")
    made.add_argument("collection", type=Path, help="a BEIR folder with answers.jsonl")
    made.add_argument("--queries", type=int, help="at most so many, drawn")
    made.add_argument("--passages", choices=("split", "one"), default="split")
    made.add_argument("--passage-tokens", type=int, help="a passage's length in word-pieces")
    add_place(made)
    options = made.parse_args()
    with one_line_errors():
        from searchlib import Settings

        collection = Collection(options.collection)
        answers = read_answers(collection.path / "answers.jsonl")
        topics = {id: text for id, text in collection.topics().items() if id in answers}
        most = options.queries or (QUICK_QUERIES if options.quick else len(topics))
        drawn = random.Random(0).sample(sorted(topics), min(most, len(topics)))
        say(json.dumps(provenance()))
        settings = Settings(
            max_passages=1 if options.passages == "one" else None,
            passage_tokens=options.passage_tokens or Settings().passage_tokens,
        )
        with opened(collection, settings, options.cache, options.device) as engine:
            texts = texts_of(collection.corpus)
            chosen = {id: topics[id] for id in drawn}
            print_results(measure(engine, collection.name, texts, chosen, answers), "answers")


if __name__ == "__main__":
    main()
