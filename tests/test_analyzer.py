"""The analyzer: what is a word, what becomes of it, and how words are counted."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchlib.encoders import analyzer as module
from searchlib.encoders.analyzer import LUCENE_STOPWORDS, Analyzer
from searchlib.errors import BadInput

PLAIN = Analyzer("none")
texts = st.text(max_size=60) | st.lists(
    st.sampled_from(["The ", "cats", "Cat ", "ﬁne ", "猫が", "हिन्दी ", "👍🏽", "a_b", "x" * 300]),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The cats sat", ["cats", "sat", "the"]),
        ("snake_case", ["snake", "case"]),
        ("don't l’air", ["don", "t", "l", "air"]),
        ("x-ray 3.14 B2B", ["x", "ray", "3", "14", "b2b"]),
        ("CAFÉ cafe\u0301", ["café", "café"]),
        ("naïve Ångström", ["naïve", "ångström"]),
        ("ﬁne Ｆｕｌｌ x²", ["fine", "full", "x2"]),
        ("soft\u00adhyphen می\u200cخواهم", ["softhyphen", "میخواهم"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("猫が好き。", ["猫", "猫が", "が", "が好", "好", "好き", "き"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("ok 👍🏽 🇩🇪!", ["ok", "👍", "🇩🇪"]),
        ("a" * 300, ["a" * 255, "a" * 45]),
        ("é" * 300, ["é" * 255, "é" * 45]),
        ("", []),
        (" .,;'_\n\0", []),
    ],
)
def test_words(text, terms):
    assert sorted(PLAIN.terms(text)) == sorted(terms)


def test_english_is_stemmed_by_porter_without_stop_words():
    analyzer = Analyzer()
    assert analyzer.terms("The skies are generously relational") == ["ski", "gener", "relat"]
    assert len(LUCENE_STOPWORDS) == 33
    assert analyzer.terms(" ".join(LUCENE_STOPWORDS).title()) == []


def test_other_languages_stemmers_and_stop_words():
    assert Analyzer("german").terms("die Häuser") == ["die", "haus"]
    assert Analyzer("german", stopwords=frozenset({"die"})).terms("Die Häuser") == ["haus"]
    assert Analyzer("english", "english").terms("generously") == ["generous"]
    assert Analyzer("english", "none").terms("the cats") == ["cats"]


def test_unknown_names_are_refused_with_those_allowed():
    with pytest.raises(BadInput, match=r"unknown language 'klingon'; allowed: .*french.*none"):
        Analyzer("klingon")
    with pytest.raises(BadInput, match="unknown stemmer 'lancaster'"):
        Analyzer("english", "lancaster")


def test_counts_in_order_of_first_appearance():
    vectors = Analyzer().encode_document(["beta alpha beta", "", "the", "gamma Alphas betas beta"])
    assert vectors.terms == ["beta", "alpha", "gamma"]
    assert [vectors.row(i) for i in range(4)] == [
        {"beta": 2.0, "alpha": 1.0},
        {},
        {},
        {"gamma": 1.0, "alpha": 1.0, "beta": 2.0},
    ]
    assert vectors.values.dtype == np.float32
    assert vectors.indices.dtype == np.int32
    assert vectors.indptr.dtype == np.int64


def test_no_texts():
    vectors = Analyzer().encode_query([])
    assert len(vectors) == 0
    assert vectors.terms == []


@given(st.lists(texts, max_size=6))
def test_rows_are_the_counts_of_the_terms_whatever_the_batch(batch):
    vectors = Analyzer().encode_document(batch)
    analyzer = Analyzer()
    for i, text in enumerate(batch):
        assert vectors.row(i) == Counter(analyzer.terms(text))
        alone = analyzer.encode_query([text])
        assert list(alone.row(0).items()) == list(vectors.row(i).items())


@given(texts)
def test_tokens_are_the_terms_and_their_places(text):
    analyzer = Analyzer()
    tokens = analyzer.tokens(text)
    assert [term for _, _, term in tokens] == analyzer.terms(text)
    for start, end, term in tokens:
        assert 0 <= start < end <= len(text)
        assert term in analyzer.terms(text[start:end])


@given(st.text(max_size=40))
def test_the_simple_patterns_find_what_the_exact_one_finds(text):
    exact = [match.group() for match in module._exotic().finditer(text)]
    pattern = module._pattern(text)
    assert [match.group() for match in pattern.finditer(text)] == exact


def test_every_character_that_needs_the_exact_pattern_gets_it():
    for code in range(0x80, 0x32400):
        text = f"a{chr(code)}b"
        if module._pattern(text) is module._PLAIN:
            exact = [match.group() for match in module._exotic().finditer(text)]
            assert module._PLAIN.findall(text) == exact, hex(code)


def test_long_texts_are_counted_too():
    text = "word " * 250_000
    assert Analyzer().encode_document([text]).row(0) == {"word": 250_000.0}


def test_memory_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    analyzer = Analyzer()
    for i in range(20):
        text = " ".join(f"w{i}x{j}" for j in range(8))
        assert analyzer.encode_document([text]).terms == text.split()
    assert len(analyzer._memory[0].numbers) <= 10 + 8


def test_threads_share_one_analyzer():
    analyzer, wrong = Analyzer(), []

    def work(seed: int) -> None:
        for i in range(200):
            text = f"w{i} w{i + 1} v{seed * i}"
            if analyzer.terms(text) != text.split():
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_fingerprint_says_what_the_terms_depend_on():
    assert Analyzer().fingerprint == Analyzer("english", "porter", LUCENE_STOPWORDS).fingerprint
    others = [Analyzer("german"), Analyzer("none"), Analyzer(stopwords=frozenset())]
    assert len({a.fingerprint for a in [Analyzer(), *others]}) == 4
    for analyzer in others:
        again = Analyzer.from_json(analyzer.to_json())
        assert again == analyzer
        assert again.fingerprint == analyzer.fingerprint
