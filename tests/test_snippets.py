"""Snippets: the sentences that hold what was asked for, with the words marked."""

from __future__ import annotations

import random

import pytest
import slow_snippets
from hypothesis import given
from hypothesis import strategies as st

from searchlib.encoders.analyzer import Analyzer
from searchlib.snippets import READ, marked_titles, snippet, snippets

ANALYZER = Analyzer()
STORY = (
    "Snow fell on the harbour all night. The ferries stayed in port, and the crews played cards. "
    "In the morning a heron stood on the frozen pier. Nobody had seen herons there in winter."
)


def of(text: str, max_chars: int = 240, start: int = 0, end: int | None = None, **words: float):
    return snippet(
        text, start, len(text) if end is None else end, words, ANALYZER, max_chars=max_chars
    )


def test_best_sentence_with_marks():
    shown = of(STORY, 60, heron=1.0, pier=1.0)
    assert shown == "In the morning a **heron** stood on the frozen **pier**."


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("stoerche", "Two **Störche** on an XJ 900, 5 V."),
        ("storche", "Two **Störche** on an XJ 900, 5 V."),
        ("Störche", "Two **Störche** on an XJ 900, 5 V."),
        ("xj900", "Two Störche on an **XJ 900**, 5 V."),
        ("XJ-900", "Two Störche on an **XJ 900**, 5 V."),
        ("900", "Two Störche on an XJ **900**, 5 V."),
        ("5v", "Two Störche on an XJ 900, **5 V**."),
    ],
)
def test_other_spellings_are_marked_too(query, shown):
    words = dict.fromkeys(ANALYZER.terms(query), 1.0)
    assert of("Two Störche on an XJ 900, 5 V.", **words) == shown


def test_sentences_are_added_while_there_is_room():
    assert of(STORY, 120, heron=1.0).startswith("In the morning a **heron** stood")
    assert of(STORY, 120, heron=1.0).endswith("seen **herons** there in winter.")


def test_distinct_words_weigh_more_than_repetitions():
    text = "Fish fish fish fish. The fish met a crab."
    assert of(text, 22, fish=1.0, crab=0.5) == "The **fish** met a **crab**."


def test_weights_decide():
    text = "A small crab. A large squid."
    assert of(text, 16, crab=1.0, squid=2.0) == "A large **squid**."
    assert of(text, 16, crab=2.0, squid=1.0) == "A small **crab**."


def test_nothing_matches_gives_the_beginning_of_the_passage():
    assert of(STORY, 40, zebra=1.0) == "Snow fell on the harbour all night."
    start = STORY.index("In the")
    assert of(STORY, 60, start=start, zebra=1.0).startswith("In the morning")


def test_only_the_passage_is_shown():
    end = STORY.index(" In the")
    assert "heron" not in of(STORY, end=end, heron=1.0)


def test_white_space_becomes_single_spaces():
    assert of("One\n\n  two\tthree", two=1.0) == "One **two** three"


def test_stars_of_the_text_are_no_marks():
    text = "One **two** *three* x**2 ***"
    assert of(text, two=1.0, three=1.0) == "One ∗∗**two**∗∗ ∗**three**∗ x∗∗2 ∗∗∗"
    assert of("*args, **kwargs: 2*3*", arg=1.0) == "∗**args**, ∗∗kwargs: 2*3*"


def test_no_star_of_the_text_is_lost():
    assert of("printer*jam", printer=1.0, jam=1.0) == "**printer**∗**jam**"
    assert snippet("a*b* c", 0, 6, {}, ANALYZER, spans=[(0, 4)]) == "**a*b∗** c"


@given(st.text("ab* ", max_size=30), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_marks_can_be_told_from_stars(text, spans):
    shown = snippet(text, 0, len(text), {}, ANALYZER, spans=spans)
    pieces = shown.split("**")
    assert len(pieces) % 2 == 1
    assert all(pieces[1:-1:2])
    assert "".join(pieces).replace("∗", "*").split() == text.split()


def test_long_sentences_are_cut_around_the_match():
    text = " ".join(f"filler{i}" for i in range(200)) + " treasure " + "more " * 200
    shown = of(text, 100, treasur=1.0)
    assert "**treasure**" in shown
    assert shown.startswith("… filler")
    assert shown.endswith(" …")
    assert len(shown) <= 100 + 8


def test_extra_spans_are_marked_and_joined():
    text = "A fast red car."
    words = {"red": 1.0}
    shown = snippet(text, 0, len(text), words, ANALYZER, spans=[(2, 6), (7, 9)])
    assert shown == "A **fast** **red** car."


def test_text_without_spaces():
    shown = of("昨日は雨。今日は猫がいる。明日も雨。", 10, 猫=1.0, 猫が=1.0)
    assert shown == "今日は**猫が**いる。"


@pytest.mark.parametrize("text", ["", " \n "])
def test_nothing_to_show(text):
    assert of(text, a=1.0) == ""


@given(
    st.lists(
        st.sampled_from(["fish ", "crab. ", "猫。", "\n\n", "a" * 30 + " ", " ", "Eel! "]),
        max_size=40,
    ),
    st.integers(5, 60),
)
def test_what_is_shown_stands_in_the_text(parts, max_chars):
    text = "".join(parts)
    shown = of(text, max_chars, fish=1.0, eel=3.0, 猫=1.0)
    assert shown.count("**") % 2 == 0
    plain = shown.removeprefix("… ").removesuffix(" …").replace("**", "")
    assert plain in " ".join(text.split())
    assert len(plain) <= max_chars + 1
    if "Eel" in text:
        assert "**Eel**" in shown


PIECES = (
    "fish", "Fishes", "crab", "eel", "Eels", "the", "filler", "Café", "naïve", "Ωμέγα", "猫がいる",
    "हिन्दी", "e\u0301l", "👍", "x*2", "**", "***", "*", ". ", ". ", "! ", "? ", "…", "。", "\n",
    "\n\n", "\n- ", "\t", "\u00a0", "\u2003", " ", " ", " ", ", ", " — ", "Dr. ", "e.g. ", "A. ",
    "a" * 70, "\ud800", "\0",
)  # fmt: skip
WORDS = {"fish": 1.0, "crab": 0.3, "eel": 0.1, "café": 0.2, "naïv": 0.7, "ωμέγα": 0.5, "猫が": 0.4}


def generated(seed: int) -> str:
    """A text of words and what stands between them, half of the time of ASCII alone."""
    rng = random.Random(seed)
    pieces = [piece for piece in PIECES if piece.isascii()] if seed % 2 else list(PIECES)
    weights = [rng.random() ** 3 for _ in pieces]
    parts = rng.choices(pieces, weights, k=rng.randint(0, 150))
    return (" " if rng.random() < 0.5 else "").join(parts)


@pytest.mark.parametrize("max_chars", [7, 30, 100, 240])
def test_snippets_are_those_of_the_slow_way(max_chars):
    rng = random.Random(max_chars)
    for seed in range(200):
        text = generated(seed)
        low, high = sorted(rng.choices(range(len(text) + 3), k=2))
        for start, end in ((0, len(text)), (low, high)):
            spans = [(low, high)] if seed % 5 == 0 else []
            words = {word: rng.choice((1.0, 0.5, weight)) for word, weight in WORDS.items()}
            arguments = (text, start, end, words, ANALYZER)
            expected = slow_snippets.snippet(*arguments, max_chars=max_chars, spans=spans)
            assert snippet(*arguments, max_chars=max_chars, spans=spans) == expected, seed


def test_many_snippets_at_once_are_the_snippets_one_by_one():
    texts = [generated(seed) for seed in range(200)] + ["crab " * (READ // 5 + 7)]
    one_by_one = [snippet(text, 0, len(text), WORDS, ANALYZER) for text in texts]
    lengths = [len(text) for text in texts]
    assert snippets([text[:READ] for text in texts], lengths, WORDS, ANALYZER) == one_by_one
    assert snippets([], [], WORDS, ANALYZER) == []


def test_a_title_is_marked_as_a_whole():
    long = "crab " * 100 + "and\n heron **"
    shown = marked_titles([long, "Nothing", "", "  "], {"heron": 1.0}, ANALYZER)
    assert shown == ["crab " * 100 + "and **heron** ∗∗", "Nothing", "", ""]


def test_what_is_beyond_the_characters_read_is_not_seen():
    text = " " * (READ - 10) + "Crab. " + "fish " * 9
    assert of(text, crab=1.0, fish=2.0) == "… **Crab**. **fish** …"


def test_parts_of_compounds_are_marked():
    text = "Call parseHTTPReply first."
    assert of(text, http=1.0) == "Call parse**HTTP**Reply first."
    assert of(text, pars=1.0, repli=0.5) == "Call **parse**HTTP**Reply** first."
    assert of(text, parsehttprepli=1.0, http=1.0) == "Call **parseHTTPReply** first."
