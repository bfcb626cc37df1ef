"""From a ranking of numbers to the lines of an answer: titles, best passages, snippets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate

from indexes.types import TermVectors, TopK, Unit

from .encoders.analyzer import Analyzer
from .fused import Fused
from .retrievers import FieldRetriever, Scorer, best_passages
from .snippets import snippet
from .types import Explanation, Hit

EXPANSION_SHARE = 0.5  # of an expansion term's weight, against a query word's own in a snippet


def make_hits(
    scorer: Scorer,
    query: str,
    top: TopK,
    unit: Unit,
    *,
    analyzer: Analyzer,
    explain: Callable[[int], Explanation] | None,
) -> list[Hit]:
    """Hits for a ranking, in its order.

    `explain`: gives each hit's explanation, or None for none.
    """
    if not len(top.ids):
        return []
    snapshot = scorer.snapshot
    if unit == "document":
        documents, passages = top.ids, best_passages(scorer, query, top.ids)
    else:
        documents, passages = snapshot.documents_of(top.ids), top.ids
    numbers = snapshot.passage_number(passages)
    records = snapshot.records(documents)
    words = wanted_words(query, analyzer, expansions_of(scorer, query))
    hits = []
    for i, record in enumerate(records):
        number = int(numbers[i])
        start, end = record.passages[number]
        hits.append(
            Hit(
                rank=i + 1,
                id=record.id if unit == "document" else f"{record.id}#{number}",
                score=float(top.scores[i]),
                title=record.title,
                snippet=snippet(record.text, start, end, words, analyzer),
                document=record.id,
                passage=number,
                start=start,
                end=end,
                metadata=record.metadata,
                explanation=explain(int(top.ids[i])) if explain is not None else None,
            )
        )
    return hits


def expansions_of(scorer: Scorer, query: str) -> dict[str, float]:
    """Terms and weights that a retriever's sparse parts look for."""
    terms: dict[str, float] = {}
    for part in scorer.parts if isinstance(scorer, Fused) else (scorer,):
        if isinstance(part, FieldRetriever) and part.name in ("sparse", "lookup"):
            vectors = part.queries.encode([query])
            assert isinstance(vectors, TermVectors)
            terms.update(vectors.row(0))
    return terms


def wanted_words(
    query: str, analyzer: Analyzer, expansions: Mapping[str, float]
) -> dict[str, float]:
    """Analysed terms worth showing in a snippet, with weights: the query's words first."""
    largest = max(expansions.values(), default=1.0)
    words: dict[str, float] = {}
    # the middle of a word says nothing on its own
    shown = [term for term in expansions if not term.startswith("##")]
    lines = [" ".join(term.strip("\u0120\u2581").splitlines()) for term in shown]
    ends = list(accumulate(len(line) + 1 for line in lines))
    for start, _, word in analyzer.tokens("\n".join(lines)):  # all at once: it is faster
        weight = expansions[shown[bisect_right(ends, start)]]
        words[word] = max(words.get(word, 0.0), EXPANSION_SHARE * weight / largest)
    for _, _, word in analyzer.tokens(query):
        words[word] = 1.0
    return words
