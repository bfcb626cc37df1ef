"""From a ranking of numbers to the lines of an answer: titles, best passages, snippets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain

from indexes.manifest import TermField
from indexes.snapshot import Selection
from indexes.types import TermVectors, TopK, Unit

from .encoders.analyzer import Analyzer
from .parts import fields_of
from .quoting import quoted
from .scorer import Scorer, best_passages
from .snippets import READ, marked_titles, snippets
from .types import Explanation, Hit

QUOTED = 2.0  # what a quoted word is worth, against another of the query
EXPANSION_SHARE = 0.5  # of an expansion term's weight, against a query word's own in a snippet
LEAST_EXPANSION = 0.1  # of the heaviest one's weight; lighter ones mark noise


def make_hits(
    scorer: Scorer,
    query: str,
    top: TopK,
    where: Selection | None,
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
    passages = top.ids
    if unit == "document":
        passages = best_passages(scorer, query, top.ids, where)
    excerpts = scorer.snapshot.excerpts(passages, READ)
    words = wanted_words(query, analyzer, expansions_of(scorer, query, where))
    shown = snippets(
        [excerpt.text for excerpt in excerpts],
        [excerpt.end - excerpt.start for excerpt in excerpts],
        words,
        analyzer,
    )
    titles = marked_titles([excerpt.title for excerpt in excerpts], words, analyzer)
    columns = (titles, top.ids.tolist(), top.scores.tolist())
    return [
        Hit(
            rank=rank,
            id=excerpt.id if unit == "document" else f"{excerpt.id}#{excerpt.number}",
            score=score,
            title=excerpt.title,
            snippet=text,
            document=excerpt.id,
            passage=excerpt.number,
            start=excerpt.start,
            end=excerpt.end,
            metadata=excerpt.metadata,
            explanation=explain(id) if explain is not None else None,
            marked_title=title,
        )
        for rank, (excerpt, text, title, id, score) in enumerate(
            zip(excerpts, shown, *columns, strict=True), 1
        )
    ]


def expansions_of(scorer: Scorer, query: str, where: Selection | None) -> dict[str, float]:
    """Terms and weights that a retriever's sparse parts look for."""
    terms: dict[str, float] = {}
    for part in fields_of(scorer, where):
        spec = part.snapshot.fields[part.fields["passage"]]
        if isinstance(spec, TermField) and spec.kind == "impact":
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
    shown = [
        (word, weight / largest)
        for term, weight in expansions.items()
        if weight >= LEAST_EXPANSION * largest and (word := _word(term))
    ]
    found = analyzer.terms_of([*(word for word, _ in shown), query])
    for (_, share), parts in zip(shown, found, strict=False):
        for word in parts:
            words[word] = max(words.get(word, 0.0), EXPANSION_SHARE * share)
    words.update((word, 1.0) for word in found[-1])
    if (asked := quoted(query)) is not None:
        words.update((word, QUOTED) for word in chain(*analyzer.terms_of(asked.written)))
    return words


def _word(term: str) -> str:
    """A model's term as a word; nothing for what says nothing on its own: the middle of a word, a
    number, a letter."""
    word = term.strip("\u0120\u2581")
    return "" if term.startswith("##") or len(word) < 2 or word.isdecimal() else word
