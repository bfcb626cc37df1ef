"""Asking an open index: search, pages, documents in order, facets, rankings, explanations."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from indexes.snapshot import Selection, Snapshot
from indexes.types import TopK, Unit

from .errors import BadQuery, check_k, check_query, check_unit, check_where
from .hits import make_hits
from .paging import check_offset, ranked_part
from .retrieving import Retrieving
from .scorer import Scorer, explained, ranked_ids, selected
from .types import Explanation, Hit, Ranking

if TYPE_CHECKING:
    from .cursors import Page
    from .evidence import Calibrated
    from .expansion import Expansion


class Searching(Retrieving):
    """The half of `Engine` that reads."""

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
        explain: bool = False,
        offset: int = 0,
        sort: str | None = None,
        min_probability: float | None = None,
    ) -> list[Hit]:
        """The k best documents (or passages) for one query, with snippets.

        `retriever`: one of `retriever_names()`, or a retriever; "hybrid" and "instant" read slips
        as what was meant (see `respelled`). `where`: a filter on metadata
        such as `year >= 2001 and lang in ("en", "fr")`, applied before the best k are taken;
        a text is quoted as `json.dumps(text)` does (see `indexes.filters`).
        `offset`: how many of the ranking to pass over. `sort`: a field, "year" or "-year"
        (largest first), by which all documents that share a term with the query are sorted.
        `min_probability`: hits say how probable it is that they are relevant, and those of the k
        below it are left out; 0 leaves out none (see `calibrated`). The default was fitted to
        questions.

        Raises:
            BadQuery: an empty query, k below 1, or an unknown retriever; `sort` with passages,
                or with a retriever that matches everything; `min_probability` outside 0 to 1, or
                where scores are not calibrated.
            BadFilter: `where` or `sort` cannot be parsed.
        """
        check_offset(offset)
        check_query(query)
        plain, scorer, [query] = self._asked(retriever, [query])
        hits, top, selection = self._found(
            scorer, query, k, where=where, unit=unit, explain=explain, offset=offset, sort=sort,
            paged=offset > 0,
        )  # fmt: skip
        if min_probability is not None:
            from .evidence import calibrated_hybrid

            # subtle: another thread may refresh meanwhile, and all must be of one commit
            hybrid = plain if retriever == "hybrid" else self._scorer("hybrid")
            calibrated = calibrated_hybrid(hybrid)
            if calibrated is None or plain != hybrid:
                raise BadQuery(f"no probabilities: {self._why_not(plain, hybrid)}")
            if scorer is not plain:
                top = TopK(top.ids, plain.scores(query, top.ids, selection, unit))
            hits = calibrated.likely(hits, query, top, selection, unit, least=min_probability)
        return hits

    def _found(
        self,
        scorer: Scorer,
        query: str,
        k: int,
        *,
        where: str | None,
        unit: Unit,
        explain: bool,
        offset: int,
        sort: str | None,
        paged: bool,
    ) -> tuple[list[Hit], TopK, Selection | None]:
        """The hits, their numbers and scores, and what the filter selects."""
        check_k(k)
        check_unit(unit)
        selection = selected(scorer.snapshot, where)
        if sort is None:
            top = ranked_part(scorer, query, selection, unit, offset=offset, k=k, paged=paged)
        elif unit == "passage":
            raise BadQuery("only documents are sorted by a field, not passages")
        else:
            from .browsing import sorted_matches

            ids = sorted_matches(scorer, query, sort, offset + k, selection)[offset:]
            top = TopK(ids, scorer.scores(query, ids, selection, unit))
        hits = make_hits(
            scorer,
            query,
            top,
            selection,
            unit,
            analyzer=self._analyzer(),
            explain=(lambda id: scorer.explain_id(query, id, selection, unit)) if explain else None,
        )
        if offset:
            hits = [replace(hit, rank=hit.rank + offset) for hit in hits]
        return hits, top, selection

    def calibrated(self) -> Calibrated | None:
        """The hybrid with the calibration of its scores; None where there is none.

        It is the one that `searchlib tune` fitted to this index and its dense model; else the
        default, where the dense model is the one that the default was fitted to.

        >>> engine.calibrated().calibration.floor  # doctest: +SKIP
        0.2
        """
        from .evidence import calibrated_hybrid

        return calibrated_hybrid(self._scorer("hybrid"))

    def _why_not(self, scorer: Scorer, hybrid: Scorer) -> str:
        """Why a retriever's hits have no probabilities."""
        if scorer != hybrid:
            return f"only scores of 'hybrid' are calibrated, not those of {scorer.name!r}"
        if scorer.name != "hybrid":
            return f"{self.path} has words only, and nothing to compare their scores with"
        return (
            f"the scores of {self.path} are not calibrated, as its dense model is not the default; "
            "`searchlib tune` does it on judged queries"
        )

    def browse(
        self, k: int = 10, *, where: str | None = None, sort: str = "id", offset: int = 0
    ) -> list[Hit]:
        """k documents without a query: those that a filter selects, in the order of a field.

        `sort`: "year" or "-year" (largest first); numbers before texts, of a list the smallest
        (-: largest) member, documents without the field last, ties by id.

        Raises:
            BadQuery: k below 1, or an offset below 0.
            BadFilter: `where` or `sort` cannot be parsed.
        """
        return _listed(self.snapshot, k, where, sort, offset)

    def page(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        cursor: str | None = None,
        retriever: str = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
        sort: str | None = None,
    ) -> Page:
        """The next k hits of `search`, or of `browse` without a query, and where to go on.

        Raises:
            BadQuery: as `search`; or `cursor` belongs to another commit of the index, or to
                another question.

        >>> page = engine.page("blues")  # doctest: +SKIP
        >>> page = engine.page("blues", cursor=page.cursor)  # doctest: +SKIP
        """
        from .cursors import Page, make_cursor, read_cursor

        check_k(k)
        k = operator.index(k)
        if query is not None:
            check_query(query)
        if not isinstance(retriever, str):  # subtle: a cursor remembers the question as JSON
            kind = type(retriever).__name__
            raise BadQuery(f"the retriever of a page must be a name, not {kind}")
        asked = (query, retriever, where, unit, sort)
        scorer = None
        if query is not None:
            _, scorer, [query] = self._asked(retriever, [query])
        snapshot = self.snapshot if scorer is None else scorer.snapshot
        commit = snapshot.generation, snapshot.created
        offset = 0 if cursor is None else read_cursor(cursor, commit, asked)
        if query is None or scorer is None:
            hits = _listed(snapshot, k + 1, where, sort or "id", offset)
        else:
            hits, *_ = self._found(
                scorer, query, k + 1, where=where, unit=unit, explain=False, offset=offset,
                sort=sort, paged=True,
            )  # fmt: skip
        more = make_cursor(commit, asked, offset + k) if len(hits) > k else None
        return Page(tuple(hits[:k]), more)

    def facets(
        self, field: str, *, where: str | None = None, top: int = 10
    ) -> list[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field of the metadata, and how many documents have each.

        Of all documents or those that `where` selects; ties by value. Each member of a list
        counts.

        Raises:
            BadQuery: `top` below 1.
            BadFilter: `field` or `where` cannot be parsed.

        >>> engine.facets("lang", where="year >= 2001")  # doctest: +SKIP
        [('en', 12), ('fr', 3)]
        """
        check_k(top)
        snapshot = self.snapshot
        return snapshot.facets(field, selected(snapshot, where), top)

    def ids_where(self, where: str) -> list[str]:
        """The ids of the documents that a filter on metadata selects. Raises BadFilter."""
        return ids_of(self.snapshot, where)

    def rank(
        self,
        queries: Sequence[str],
        k: int = 1000,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
    ) -> list[Ranking]:
        """Many queries at once: ids and scores, without texts.

        Raises:
            BadQuery: as `search`, but that a query may be empty: nothing is found by it.
        """
        if isinstance(queries, str):
            raise BadQuery("queries must be a list of texts, not one text; write [text]")
        queries = list(queries)
        if wrong := [query for query in queries if not isinstance(query, str)]:
            raise BadQuery(f"illegal query: {wrong[0]!r}, must be a text")
        check_unit(unit)
        _, scorer, queries = self._asked(retriever, queries)
        return ranked_ids(scorer, queries, k, where, unit)

    def explain(
        self,
        query: str,
        id: str,
        *,
        retriever: str | Scorer = "hybrid",
        where: str | None = None,
        unit: Unit = "document",
    ) -> Explanation:
        """Why document `id`, or passage "id#n", has the score it has for `query`.

        `where`: the filter that it was found with. `unit`: with "passage", "id#n" is a passage
        even where a document has that id.

        Raises:
            BadQuery: an unknown retriever or unit.
            NotFound: no such document or passage.
        """
        check_unit(unit)
        _, scorer, [query] = self._asked(retriever, [query])
        return explained(scorer, query, id, where, unit)

    def expand(self, text: str, k: int | None = None) -> list[Expansion]:
        """The terms that the sparse encoder makes of a text, heaviest first, at most k."""
        from .encoders.sparse import SparseEncoder
        from .expansion import expand_with

        encoder = self._query_cache("sparse").encoder
        assert isinstance(encoder, SparseEncoder)
        return expand_with(encoder, text, k)


def ids_of(snapshot: Snapshot, where: str) -> list[str]:
    """The ids of a snapshot's documents that a filter selects. Raises BadFilter."""
    check_where(where)
    chosen = snapshot.select(where).documents
    return snapshot.ids(np.flatnonzero(np.concatenate([np.empty(0, np.bool_), *chosen])))


def _listed(snapshot: Snapshot, k: int, where: str | None, sort: str, offset: int) -> list[Hit]:
    from .browsing import listed

    check_k(k)
    check_offset(offset)
    return listed(snapshot, sort, offset + k, selected(snapshot, where))[offset:]
