"""Which words a snippet looks for: the query's, and those of its expansion that say something."""

from __future__ import annotations

import pytest

from searchlib.encoders.analyzer import Analyzer
from searchlib.hits import EXPANSION_SHARE, LEAST_EXPANSION, QUOTED, wanted_words

ANALYZER = Analyzer()


def test_the_querys_words_count_whole_and_expansions_by_their_weight() -> None:
    words = wanted_words("blues songs", ANALYZER, {"blues": 2.0, "music": 1.0, "band": 0.5})
    assert words == {"blue": 1.0, "song": 1.0, "music": EXPANSION_SHARE / 2, "band": 0.125}


@pytest.mark.parametrize("term", ["##son", "60", "u", "\u0120u", "\u2581"])
def test_what_says_nothing_on_its_own_is_not_looked_for(term: str) -> None:
    assert wanted_words("river", ANALYZER, {"stream": 1.0, term: 1.0}).keys() == {"river", "stream"}


def test_numbers_and_letters_of_the_query_are_looked_for() -> None:
    assert wanted_words("vitamin c 60", ANALYZER, {"60": 1.0}).keys() == {"vitamin", "c", "60"}


def test_light_expansions_are_not_looked_for() -> None:
    heaviest = 4.0
    expansions = {"stream": heaviest, "water": LEAST_EXPANSION * heaviest, "now": 0.3}
    assert wanted_words("river", ANALYZER, expansions).keys() == {"river", "stream", "water"}


def test_of_two_spellings_of_a_word_the_heavier_counts() -> None:
    for terms in ({"\u0120stream": 2.0, "stream": 1.0}, {"stream": 1.0, "\u0120stream": 2.0}):
        assert wanted_words("river", ANALYZER, terms)["stream"] == EXPANSION_SHARE


def test_quoted_words_come_first() -> None:
    assert wanted_words('the "blue river"', ANALYZER, {})["river"] == QUOTED
