"""The analyzer: what is a word, what becomes of it, and how words are counted."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.types import TermVectors
from searchlib.encoders import analyzer as module
from searchlib.encoders import folding, identifiers, lexicon, plain_words
from searchlib.encoders import words as scripts
from searchlib.encoders.analyzer import LUCENE_STOPWORDS, Analyzer
from searchlib.errors import BadInput

PLAIN = Analyzer("none")
texts = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["The ", "cats", "Cat ", "ﬁne ", "猫が", "हिन्दी ", "👍🏽", "a_b", "myÉtéFile", "x" * 300]
    ),
    max_size=8,
).map("".join)
numbered = st.lists(  # what is joined, and what nearly is
    st.sampled_from(["XJ", "x", "900", "5", "V", "kg", "A", "a", "year", "1", "0", ",500", "m"])
    | st.sampled_from(["RAL", "M8", "é", "Störche", "\xad", "猫", "COVID", "INC48371", "pF3", "I"])
    | st.sampled_from(["y" * 17, "9" * 250])
    | st.sampled_from([" ", "-", ",", ".", "", "_", "/", "–"]),
    max_size=14,
).map("".join)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The cats sat", ["cats", "sat", "the"]),
        ("snake_case", ["snake", "case"]),
        ("don't l’air", ["don", "t", "l", "air"]),
        ("x-ray 3.14 B2B", ["x", "ray", "3", "14", "b2b"]),
        ("CAFÉ cafe\u0301", ["cafe", "cafe"]),
        ("naïve Ångström", ["naive", "angstrom", "aangstroem"]),
        ("ﬁne Ｆｕｌｌ x²", ["fine", "full", "x2"]),
        ("soft\u00adhyphen می\u200cخواهم", ["softhyphen", "میخواهم"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("猫が好き。", ["猫", "猫が", "が", "が好", "好", "好き", "き"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("ok 👍🏽 🇩🇪!", ["ok", "👍", "🇩🇪"]),
        ("a" * 300, ["a" * 255, "a" * 45]),
        ("é" * 300, ["e" * 255, "e" * 45]),
        ("", []),
        (" .,;'_\n\0", []),
    ],
)
def test_words(text, terms):
    assert sorted(PLAIN.terms(text)) == sorted(terms)


@pytest.mark.parametrize("language", ["turkish", "english", "none"])
@pytest.mark.parametrize("word", ["İstanbul", "I\u0307stanbul", "Kadıköyİstanbul", "DİYARBAKIR"])
def test_a_capital_i_with_a_dot_is_an_i(language, word):
    analyzer = Analyzer(language)
    small = word.replace("I\u0307", "i").replace("İ", "i").lower()
    assert analyzer.terms(f"a {word}") == analyzer.terms(f"a {small}")


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


@pytest.mark.parametrize(
    ("language", "written", "asked"),
    [
        ("english", "Cézanne", "Cezanne"),
        ("english", "résumés", "resumes"),
        ("english", "Störche", "Storche"),
        ("english", "Störche", "Stoerche"),
        ("english", "Straße", "STRASSE"),
        ("english", "smørrebrød", "smorrebrod"),
        ("english", "Malmö", "Malmo\u0308"),
        ("english", "Łódź", "Lodz"),
        ("english", "Århus", "Aarhus"),
        ("english", "œuvre", "oeuvre"),
        ("none", "Việt", "Viet"),
        ("german", "Häuser", "Haeuser"),
        ("german", "Häuser", "Hauser"),
        ("french", "résumés", "resumes"),
        ("french", "été", "ete"),
        ("spanish", "canción", "cancion"),
        ("turkish", "Kadıköy", "kadikoy"),
        ("turkish", "Kadıköy", "KADIKOY"),
    ],
)
def test_a_word_is_found_without_its_accents(language, written, asked):
    analyzer = Analyzer(language)
    [term] = analyzer.terms(asked)
    assert term in analyzer.terms(written)
    [token] = analyzer.matches([written], {term})[0]
    assert token == (0, len(written), term)
    assert term.isascii()


@pytest.mark.parametrize("word", ["हिन्दी", "й", "ό", "कि", "שָׁלוֹם", "กำ", "が"])
def test_marks_of_other_scripts_stay(word):
    assert folding.folded(scripts.normal(word)) == scripts.normal(word)


def test_stop_words_are_compared_without_accents():
    analyzer = Analyzer("french", stopwords=frozenset({"à", "meme"}))
    assert analyzer.terms("à a À même meme château") == ["chateau"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("XJ-900", "xj xj900 900"),
        ("XJ-900-S", "xj xj900 xj900s 900 900s s"),
        ("RAL 7016, ral 7016", "ral ral7016 7016 ral 7016"),
        ("M8 x 40", "m8 m8x m8x40 x 40"),
        ("5 V, 40 mm, 16 A, 5 pm", "5 5v v 40 40mm mm 16 16a a 5 5pm pm"),
        ("1,500 and 1,500,000", "1 1500 500 and 1 1500000 500 000"),
        ("COVID-19", "covid covid19 19"),
        ("INC48371 0x80070057", "inc48371 inc 48371 0x80070057 0x 80070057"),
        ("a1b234c567 9f86d081884c7d 12a345", "a1b234c567 9f86d081884c7d 12a345"),  # as hashes are
        # what is not one: words of prose, ranges, dates, versions, lists, fractions
        ("in 1990 he sold 5 books to 12 men", "in 1990 he sold 5 books to 12 men"),
        ("the 16 a day", "the 16 a day"),
        ("a 20-year-old well-known", "a 20 year old well known"),
        ("1990-1995 2020-03-14 3/4 1.2.3", "1990 1995 2020 03 14 3 4 1 2 3"),
        ("0,500 1,50 1,5000 1,500,00 3.1,500", "0 500 1 50 1 5000 1 500 00 3 1 500"),
        ("1,200,300,400,500,600", "1 200 300 400 500 600"),
        ("XJ  900, XJ_900, XJ.900", "xj 900 xj 900 xj 900"),
        ("14 March 2023", "14 march 2023"),
        ("CI 0.95, A 1964 study, a x 10", "ci 0 95 a 1964 study a x 10"),
    ],
)
def test_neighbours_that_are_one_identifier(text, terms):
    assert PLAIN.terms(text) == terms.split()


def test_both_words_of_an_identifier_are_its_place():
    assert Analyzer().matches(["an XJ 900."], {"xj900"}) == [[(3, 9, "xj900")]]


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


def fresh(analyzer, *, native):
    """A lexicon of an analyzer's, which has met no word."""
    forms = module._forms_function(analyzer.stemmer)
    stem = module._stem_function(analyzer.stemmer)
    return lexicon.Lexicon(stem, analyzer.stopwords, forms, native=native)


def slowly_counted(analyzer, texts):
    """What `encode_document` ought to give: word by word, with the pattern that is always right."""
    stem, forms = module._stem_function(analyzer.stemmer), module._forms_function(analyzer.stemmer)
    stopwords = {folding.folded(word) for word in analyzer.stopwords}
    rows = []
    for text in texts:
        counts: Counter[str] = Counter()
        places = []
        for match in scripts.exotic().finditer(text):
            start, end = match.span()
            if match.lastgroup == "unspaced":
                grams = [(i, i + n) for i in range(start, end) for n in (1, 2)]
                places += grams[:-1]
            else:
                places.append((start, end))
        for i, (start, end) in enumerate(places):
            word = text[start:end]
            words = [word, *(whole for _, _, whole in identifiers.joined(text, places, i))]
            for written in words + [word[first:last] for first, last in scripts.parts(word)]:
                term = scripts.normal(written)
                if folding.folded(term) in {*stopwords, ""}:
                    continue
                ways = [term] if term.isascii() else forms(term)
                stems = [folding.folded(stem([way])[0]) or way for way in ways]
                counts.update(dict.fromkeys(stems, 1))
        rows.append({term: float(count) for term, count in counts.items()})
    return TermVectors.of(rows)


def same(one, other):
    return list(one.terms) == list(other.terms) and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("indptr", "indices", "values")
    )


ODD = [
    *("\xd7", " \xd7 ", "y" * 255, "Z" * 256, "0" * 700, "\0", "\x1c", "\x85", "é", "_", "Ünder"),
    *("aB", "getHTTPReply", "utf8É", "iPhone", "2Pac", "a" * 254 + "Bcd"),
]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("language", ["english", "german", "none"])
@given(
    st.lists(
        texts | numbered | st.lists(st.sampled_from(["The", " ", "cats", *ODD])).map("".join),
        max_size=8,
    )
)
def test_counting_equals_the_slow_way(native, language, batch):
    analyzer = Analyzer(language)
    counter = fresh(analyzer, native=native)
    for _ in range(2):  # with unknown words, then with known ones
        assert same(counter.counts(batch), slowly_counted(analyzer, batch))


@given(st.lists(texts, max_size=8), st.integers(1, 40))
def test_texts_are_counted_the_same_however_they_are_grouped(batch, at_once):
    whole = Analyzer().encode_document(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicon, "AT_ONCE", at_once)
        assert same(Analyzer().encode_document(batch), whole)


@pytest.mark.skipif(lexicon._words is None, reason="installed without a compiler")
@given(st.lists(st.lists(st.text(st.characters(max_codepoint=127)), max_size=5), max_size=4))
def test_the_compiled_words_are_the_plain_ones(batches):
    compiled, plain = (
        lexicon._words.Words(scripts.kinds(), identifiers.units()),
        plain_words.Words(),
    )
    for texts_given in batches:
        batch = [text + "A" * 400 for text in texts_given]
        batch = [  # the others are not plain there
            text for text in batch if not (scripts.has_parts(text) or identifiers.has_joined(text))
        ]
        (numbers, lengths), (expected, sizes) = compiled.numbers(batch), plain.numbers(batch)
        assert np.frombuffer(numbers, np.int32).tolist() == expected.tolist()
        assert np.frombuffer(lengths, np.int64).tolist() == sizes.tolist()
        assert len(compiled) == len(plain)
        first = len(plain) // 2
        assert compiled.since(first) == plain.since(first)
        kept = np.where(expected % 3 == 0, np.int32(-1), expected)
        found = compiled.count(kept, sizes, len(plain))
        for array, other in zip(found, plain.count(kept, sizes, len(plain)), strict=True):
            assert np.frombuffer(array, other.dtype).tolist() == other.tolist()


@pytest.mark.skipif(lexicon._words is None, reason="installed without a compiler")
def test_the_compiled_words_refuse_what_would_lead_them_astray():
    with pytest.raises(TypeError):
        lexicon._words.Words()
    compiled = lexicon._words.Words(scripts.kinds(), identifiers.units())
    for cut in (compiled.numbers, compiled.places):
        with pytest.raises(TypeError):
            cut("abc")
        with pytest.raises(TypeError):
            cut([b"abc"])
    with pytest.raises(IndexError):
        compiled.since(1)
    numbers = np.zeros(2, np.int32)
    for lengths, n_terms in (([3], 1), ([-1], 1), ([2], 0), ([1, 2], 1)):
        with pytest.raises(ValueError, match="out of range"):
            compiled.count(numbers, np.array(lengths, np.int64), n_terms)


@pytest.mark.skipif(lexicon._words is None, reason="installed without a compiler")
def test_the_compiled_words_leave_exotic_texts_to_python():
    compiled = lexicon._words.Words(scripts.kinds(), identifiers.units())
    texts = ["a b", "“Été”—x", "猫", "e\u0301", "a\ud800", "👍", "\u2600", ""]
    numbers, lengths = compiled.numbers(texts)
    assert np.frombuffer(lengths, np.int64).tolist() == [2, 2, -1, -1, -1, -1, -1, 0]
    assert np.frombuffer(numbers, np.int32).tolist() == [0, 1, 2, 3]
    assert compiled.since(0) == ["a", "b", "Été", "x"]
    assert bytes(compiled.places(texts)[1]) == bytes(lengths)


def test_kinds_of_characters():
    kinds = scripts.kinds()
    for code, kind in enumerate(kinds):
        plain = scripts.pattern(chr(code)) is not scripts.exotic()
        assert plain == (kind != scripts.EXOTIC), hex(code)
        if plain:
            letter = scripts._PLAIN.fullmatch(chr(code)) is not None
            assert kind == (scripts.LETTER if letter else scripts.SEPARATOR), hex(code)


def test_many_words_are_told_apart():
    """Enough for the table to grow, and for words to share a place in it."""
    words = [f"{i}w" for i in range(50_000)]
    vectors = Analyzer("none").encode_document([" ".join(words[:30_000]), " ".join(words)])
    assert vectors.terms == words
    assert vectors.values.tolist() == [1.0] * 80_000


@given(texts | numbered)
def test_tokens_are_the_terms_and_their_places(text):
    analyzer = Analyzer()
    tokens = analyzer.tokens(text)
    assert [term for _, _, term in tokens] == analyzer.terms(text)
    starts = [start for start, _, _ in analyzer.tokens(text)]
    assert starts == sorted(starts)  # snippets count on it
    for start, end, term in tokens:
        assert 0 <= start < end <= len(text)
        assert term in analyzer.terms(text[start:end])


@pytest.mark.parametrize("language", ["english", "german"])
@given(texts | numbered)
def test_who_has_a_word_in_any_spelling_has_one_of_its_terms(language, text):
    analyzer = Analyzer(language)
    found = {(word.start, word.end): word.terms + word.joined for word in analyzer.words(text)}
    assert [
        term for terms in found.values() for term in terms if term not in analyzer.terms(text)
    ] == []
    for start, end in scripts.spans(text):
        word = text[start:end]
        plain = folding.folded(scripts.normal(word))
        alone = set(analyzer.terms(word))
        if (start, end) in found:
            assert alone & set(found[start, end])
            if set(scripts.words(plain)) == {plain}:
                assert set(analyzer.terms(plain)) & set(found[start, end])
        else:
            assert plain in analyzer.stopwords or not plain


def test_many_joined_words_are_read_quickly():
    found = PLAIN.words("A-1-" * 25_000)
    assert len(found) == 50_000
    assert found[0] == (0, 1, ["a"], ["a1", "a1a"])


written = (
    texts
    | st.lists(
        st.sampled_from(["The", " ", "cats", "É", "éa", "ŉ", "ΑΣ", "İ", "’", "—", "ʼ", "ͺ", *ODD])
    ).map("".join)
    | numbered
)


@pytest.mark.parametrize("native", [True, False])
@given(st.lists(written, max_size=6), st.sets(st.integers(0, 20)), st.text(max_size=3))
def test_matches_are_the_tokens_wanted(native, batch, wanted, other):
    analyzer = Analyzer()
    slow = [fresh(analyzer, native=False).tokens(text) for text in batch]
    every = sorted({term for tokens in slow for _, _, term in tokens})
    terms = {term for i, term in enumerate(every) if i in wanted} | {other}
    fast = fresh(analyzer, native=native)
    for _ in range(2):  # with unknown words, then with known ones
        found = fast.matches(batch, terms)
        assert found == [[token for token in tokens if token[2] in terms] for tokens in slow]
        assert fast.terms_of(batch) == [[term for _, _, term in tokens] for tokens in slow]


@given(st.text(max_size=40))
def test_the_simple_patterns_find_what_the_exact_one_finds(text):
    exact = [match.group() for match in scripts.exotic().finditer(text)]
    pattern = scripts.pattern(text)
    assert [match.group() for match in pattern.finditer(text)] == exact


def test_every_character_that_needs_the_exact_pattern_gets_it():
    for code in range(0x80, 0x32400):
        text = f"a{chr(code)}b"
        if scripts.pattern(text) is scripts._PLAIN:
            exact = [match.group() for match in scripts.exotic().finditer(text)]
            assert scripts._PLAIN.findall(text) == exact, hex(code)


def test_long_texts_are_counted_too():
    text = "word " * 250_000
    assert Analyzer().encode_document([text]).row(0) == {"word": 250_000.0}


def test_memory_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    analyzer = Analyzer()
    for i in range(20):
        text = " ".join(f"w{i}x{j}" for j in range(8))
        assert analyzer.encode_document([text]).terms == text.split()
    assert len(analyzer._memory[0]) <= 10 + 8


def test_threads_share_one_analyzer():
    analyzer, wrong = Analyzer(), []

    def work(seed: int) -> None:
        for i in range(200):
            text = f"{i}w {i + 1}w {seed * i}v"
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
