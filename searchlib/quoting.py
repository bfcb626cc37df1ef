"""Quotation marks: what a query quotes counts where a text has it word by word.

The encoders read a phrase for its meaning, and BM25 its words one by one; only the text itself
tells whether they stand there as they were quoted. Nothing is left out for want of them: who holds
what is all of a query is far ahead, a question that quotes in passing leans towards it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .encoders.folding import folded
from .encoders.words import normal, words
from .fused import Fused
from .holding import Spellings, holding, one, rarest_first, spellings_of
from .retrievers import FieldRetriever
from .scorer import Floats, Ids, Scorer, explained, ranked_ids
from .types import Explanation, Ranking

BOOST = 4.0
"""What a score gains, in times itself and the odds that all is quoted and found
(benchmarks/adaptation.md)."""
CERTAIN = 1.02  # so that the odds of a query that is quoted and found as a whole are 50
PHRASES = 32  # different ones; of more, the first ones count
DEPTH = 50
MOST = 10_000  # documents that hold the rarest word of a phrase, the best first, are looked at
READ = 1_000  # texts, those with the best plain scores first
AT_ONCE = 16  # texts
WHOLE = 1 << 30  # characters


class Quoted(NamedTuple):
    """What a query has in quotation marks."""

    phrases: tuple[str, ...]  # each once: their words in lower case, no accents, a space between
    written: tuple[str, ...]  # the same as the query has them
    share: float  # of the query's words that are theirs, above 0, 1 at most


def quoted(query: str) -> Quoted | None:
    """What a query quotes; None if nothing. Marks within words, and of inches, quote nothing.

    >>> quoted('a pipe of 5" and "Heat-transfer"')
    Quoted(phrases=('heat transfer',), written=('Heat-transfer',), share=0.2857142857142857)
    """
    if not _marks().search(query):
        return None
    inside: dict[str, str] = {}
    count = 0
    for match in _marks().finditer(query):
        text = next(filter(None, match.groups()))
        phrase = _normal_words(text)
        if phrase and (phrase in inside or len(inside) < PHRASES):
            inside.setdefault(phrase, text)
            count += _length(phrase)
    if not inside:
        return None
    return Quoted(tuple(inside), tuple(inside.values()), count / _length(_normal_words(query)))


def gain(share: Floats) -> Floats:
    """What a score is multiplied by, for each share of a query's words that is quoted and found.

    1 + BOOST x / (CERTAIN - x): odds, so that a query that is nothing but a quotation has who holds
    it ahead of what is only alike.

    >>> gain(np.array([0, 0.5, 1], np.float32)).round(2).tolist()
    [1.0, 4.849999904632568, 201.0]
    """
    odds: Floats = share / (np.float32(CERTAIN) - share)
    return 1 + np.float32(BOOST) * odds


def share_found(phrases: Sequence[str], texts: Sequence[str]) -> float:
    """How many of the phrases' words stand as they do there in one of the texts, 0 to 1.

    >>> share_found(["heat transfer", "a wing"], ["Heat transfer", "of wings"])
    0.5
    """
    within = [f" {_normal_words(text)} " for text in texts]
    found = [phrase for phrase in phrases if any(f" {phrase} " in text for text in within)]
    return sum(map(_length, found)) / sum(map(_length, phrases))


@dataclass(frozen=True)
class Quoting:
    """A scorer whose scores, 0 or more, grow where a text has what the query quotes.

    s * gain(share of the query's words that are quoted * share of these found). A query without
    quotation marks is answered by `plain`. `words` finds texts that hold a phrase's words, beside
    the best of `plain`.
    """

    plain: Scorer
    words: FieldRetriever
    _last: list[tuple[str, dict[tuple[Unit, int], float]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """That of the scorer itself."""
        return self.plain.name

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is searched."""
        return self.plain.snapshot

    @property
    def depth(self) -> int:
        """How many of the best plain ones are always looked at."""
        return self.plain.depth if isinstance(self.plain, Fused) else DEPTH

    @property
    def direct(self) -> bool:
        """Texts must be read."""
        return False

    def search(
        self, queries: Sequence[str], k: int, where: str | None = None, unit: Unit = "document"
    ) -> list[Ranking]:
        """One ranking a query."""
        return ranked_ids(self, queries, k, where, unit)

    def explain(self, query: str, id: str, where: str | None = None) -> Explanation:
        """Why `id` has its score, and what of it for words that are quoted."""
        return explained(self, query, id, where)

    def top(
        self, queries: Sequence[str], k: int, where: Selection | None, unit: Unit
    ) -> list[TopK]:
        """The k best ids of each query."""
        if not any(map(quoted, queries)):
            return self.plain.top(queries, k, where, unit)
        tops = self.plain.top(queries, max(k, self.depth), where, unit)
        return [
            TopK(top.ids[:k], top.scores[:k])
            if quoted(query) is None
            else self._best(query, top, k, where, unit)
            for query, top in zip(queries, tops, strict=True)
        ]

    def scores(self, query: str, ids: Ids, where: Selection | None, unit: Unit) -> Floats:
        """The scores of `ids`."""
        scores = self.plain.scores(query, ids, where, unit)
        return scores * self._factors(query, quoted(query), ids, unit)

    def top_and_scores(
        self, query: str, k: int, ids: Ids, where: Selection | None, unit: Unit
    ) -> tuple[TopK, Floats]:
        """The k best ids, and the scores of `ids`."""
        if quoted(query) is None:
            return self.plain.top_and_scores(query, k, ids, where, unit)
        return self.top([query], k, where, unit)[0], self.scores(query, ids, where, unit)

    def passage_scores(self, query: str, passages: Ids, where: Selection | None) -> Floats:
        """Those of `plain`, more where a passage has what is quoted."""
        scores = self.plain.passage_scores(query, passages, where)
        return scores * self._factors(query, quoted(query), passages, "passage")

    def full_score(self, query: str, where: Selection | None, unit: Unit) -> float | None:
        """No score that grows by what is quoted says so."""
        return None

    def explain_id(self, query: str, id: int, where: Selection | None, unit: Unit) -> Explanation:
        """The plain score's explanation, times what the quoted words add."""
        plain = self.plain.explain_id(query, id, where, unit)
        asked = quoted(query)
        if asked is None:
            return plain
        found = asked.share * self._found(query, asked, np.array([id], np.int64), unit)
        said = ", ".join(f'"{phrase}"' for phrase in asked.phrases)
        leaves = (
            Explanation(BOOST, "boost"),
            Explanation(
                (float(gain(found)[0]) - 1) / BOOST,
                f"odds of {found[0]:.2f}, the share of the query that is quoted and stands so",
                note=said,
            ),
        )
        more = Explanation(BOOST * leaves[1].value, "quoted words", "product", leaves)
        factor = Explanation(1 + more.value, "in times", "sum", (Explanation(1.0, "once"), more))
        value = plain.value * factor.value
        name = f"{self.name}: leaning on what is quoted"
        return Explanation(value, name, "product", (plain, factor))

    # -- inside

    def _best(self, query: str, plain: TopK, k: int, where: Selection | None, unit: Unit) -> TopK:
        """The k best of the plain ones and of those that hold a phrase's words.

        Texts are read from the best plain score on, until no boost can bring the next one up; of
        those that do not hold a phrase's words none needs to be.
        """
        asked = quoted(query)
        assert asked is not None
        holding, all_of_them = self._holding(asked, where, unit)
        ids, scores = plain.ids, plain.scores
        more = np.setdiff1d(holding, ids)
        if len(more):
            added = self.plain.scores(query, more, where, unit)
            ids, scores = np.concatenate([ids, more]), np.concatenate([scores, added])
        order = np.lexsort((ids, -scores))
        ids, final = ids[order], scores[order]
        known = ~np.isin(ids, holding) & all_of_them  # whose scores are final
        unread = np.flatnonzero(~known)[: max(k, READ)]
        most = gain(np.array([asked.share], np.float32))[0]
        for start in range(0, len(unread), AT_ONCE):
            some = unread[start : start + AT_ONCE]
            done = final[known]
            if len(done) >= k and np.partition(done, -k)[-k] > final[some[0]] * most:
                break
            final[some] *= self._factors(query, asked, ids[some], unit)
            known[some] = True
        ids, final = ids[known], final[known]
        best = np.lexsort((ids, -final))[:k]
        return TopK(ids[best], final[best])

    def _holding(self, asked: Quoted, where: Selection | None, unit: Unit) -> tuple[Ids, bool]:
        """Who holds all words of a phrase, anywhere, (m,) ascending; and whether these are all."""
        found = [
            self._holding_all(spellings_of(text, self.words.queries), where, unit)
            for text in asked.written
        ]
        return np.unique(np.concatenate([ids for ids, _ in found])), all(it for _, it in found)

    def _holding_all(
        self, words: list[Spellings], where: Selection | None, unit: Unit
    ) -> tuple[Ids, bool]:
        """Who holds all words, and whether these are all: the rarest is searched for, the others
        are looked up."""
        if not words:  # stop words
            return np.empty(0, np.int64), False
        name = self.words.fields[unit]
        rarest, *others = rarest_first(self.snapshot, name, words)
        ids = self.snapshot.search(name, one(rarest), MOST, unit=unit, where=where)[0].ids
        return ids[holding(self.snapshot, name, others, ids, unit)], len(ids) < MOST

    def _factors(self, query: str, asked: Quoted | None, ids: Ids, unit: Unit) -> Floats:
        if asked is None:
            return np.ones(len(ids), np.float32)
        return gain(np.float32(asked.share) * self._found(query, asked, ids, unit))

    def _found(self, query: str, asked: Quoted, ids: Ids, unit: Unit) -> Floats:
        """The share of the quoted words that each text has, (m,); read once a query."""
        known = next((shares for last, shares in self._last if last == query), None)
        if known is None:
            known = {}
            self._last[:] = [(query, known)]
        new = [id for id in dict.fromkeys(ids.tolist()) if (unit, id) not in known]
        for id, texts in zip(new, self._texts(np.array(new, np.int64), unit), strict=True):
            known[unit, id] = share_found(asked.phrases, texts)
        return np.array([known[unit, id] for id in ids.tolist()], np.float32)

    def _texts(self, ids: Ids, unit: Unit) -> list[tuple[str, str]]:
        if unit == "document":
            return [(record.title, record.text) for record in self.snapshot.records(ids)]
        excerpts = self.snapshot.excerpts(ids, WHOLE)
        return [(excerpt.title, excerpt.text) for excerpt in excerpts]


def _normal_words(text: str) -> str:
    return folded(normal(" ".join(words(text))))


def _length(words: str) -> int:
    return words.count(" ") + 1


@cache
def _marks() -> re.Pattern[str]:
    plain = r'(?<!\w)"(?=\S)([^"]+)(?<=\S)"(?!\w)'
    return re.compile(
        # subtle: opening marks within would make each of them look for its end
        f"{plain}|[\u201c\u201e]([^\u201c-\u201e]+)[\u201c\u201d]|\u00ab([^\u00ab\u00bb]+)\u00bb"
    )
