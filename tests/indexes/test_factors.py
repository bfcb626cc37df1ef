"""What was found out about terms once gives what is found out anew."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postings_cases import WAYS, Row, built, computed_by, statistics_of

from indexes import factors
from indexes.factors import Factors, KnownTerms, factors_of
from indexes.postings import Postings
from indexes.similarity import Dot, Statistics, idf
from indexes.types import TermVectors

SEGMENTS: list[list[Row]] = [[{"a": 1.0, "b": 2.0}, {"c": 1.0}], [{"b": 0.5}], []]
WORDS = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "é", ""]), st.floats(0, 9, width=16))


def opened() -> list[Postings]:
    return [Postings(built(rows)) for rows in SEGMENTS]


def known_terms(segments: Sequence[Postings]) -> KnownTerms:
    def multipliers(numbers: Sequence[np.ndarray]) -> np.ndarray:
        terms = len(numbers[0])
        frequency = np.zeros(terms, np.int64)
        for postings, found in zip(segments, numbers, strict=True):
            frequency += postings.document_frequency(found)
        return idf(Statistics(frequency, 3, 0.0))

    return KnownTerms(segments, multipliers)


def same(one: Factors, other: Factors) -> bool:
    return (
        one.indptr.tolist() == other.indptr.tolist()
        and one.numbers.tolist() == other.numbers.tolist()
        and one.factors.tobytes() == other.factors.tobytes()
    )


@settings(deadline=None)
@given(st.lists(st.lists(WORDS, max_size=3), max_size=4), st.sampled_from(WAYS), st.booleans())
def test_known_terms_equal_terms_looked_up(batches: list[list[Row]], way: str, small: bool) -> None:
    with computed_by(way), pytest.MonkeyPatch.context() as patch:
        if small:  # grow at once, forget soon
            patch.setattr(factors, "ROOM", 1)
            patch.setattr(factors, "MOST", 3)
        segments = opened()
        weighed, plain = known_terms(segments), KnownTerms(segments)
        for rows in batches:
            queries = TermVectors.of(rows)
            statistics = statistics_of(segments, queries)
            for number, postings in enumerate(segments):
                found = weighed.weighed(queries).in_segment(number)
                assert same(found, factors_of(postings, queries, Dot(idf=1.0), statistics))
                found = plain.weighed(queries).in_segment(number)
                assert same(found, factors_of(postings, queries, Dot(), statistics))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("terms", [["b", "c", "a"], ("b", "c", "a")], ids=["list", "tuple"])
def test_columns_name_terms_of_any_sequence(way: str, terms: Sequence[str]) -> None:
    with computed_by(way):
        known = KnownTerms(opened())
        for columns, numbers in (([2, 0], [0, 1]), ([1], [2]), ([], [])):
            count = len(columns)
            query = TermVectors(
                terms,
                np.array([0, count]),
                np.array(columns, np.int32),
                np.ones(count, np.float32),
            )
            assert known.weighed(query).in_segment(0).numbers.tolist() == numbers


@pytest.mark.parametrize("way", WAYS)
def test_a_column_that_is_not_there_is_refused(way: str) -> None:
    with computed_by(way):
        known = KnownTerms(opened())
        query = TermVectors(
            ["a"], np.array([0, 1]), np.array([1], np.int32), np.ones(1, np.float32)
        )
        with pytest.raises(IndexError):
            known.weighed(query)


def test_threads_may_learn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "ROOM", 1)
    monkeypatch.setattr(factors, "MOST", 50)
    rows: list[Row] = [{f"t{i}": 1.0 for i in range(200)}]
    postings = Postings(built(rows))
    known, wrong = KnownTerms([postings]), []

    def ask(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, 200, 300).tolist():
            query = TermVectors.of([{f"t{i}": 1.0, f"t{(7 * i) % 200}": 2.0}])
            if (
                known.weighed(query).in_segment(0).numbers.tolist()
                != postings.term_ids(query.terms).tolist()
            ):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
