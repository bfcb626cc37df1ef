"""Spelling: which words of a query are read as others, as which, and by which retrievers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchlib import Document, Engine, Settings
from searchlib.encoders.analyzer import Analyzer
from searchlib.spelling import MOST, Change, Respelled, Speller

WORDS_ONLY = Settings(dense_model=None, sparse_model=None)
PLAIN = Settings(dense_model=None, sparse_model=None, language="none")
TEXTS = {
    "travel": "Travel expenses are paid back. The committee decides about expenses.",
    "leave": "A sabbatical is a long leave. Creating an account takes a minute.",
    "names": "Zoë Lindqvist wrote to C\u00e9zanne about kubernetes and na\u00efve painters.",
    "russian": "\u041f\u0440\u0438\u0432\u0435\u0442",
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.create(tmp_path_factory.mktemp("spelling") / "i.index", WORDS_ONLY) as made:
        made.add([Document(id, text) for id, text in TEXTS.items()])
        yield made


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("travel expences", "travel expenses"),
        ("travel expeneses?", "travel expenses?"),  # one too many, and the sign stays
        ("travel epxenses", "travel expenses"),  # two changed places
        ("travel expnses", "travel expenses"),
        ("Expences", "Expenses"),
        ("a sabatical", "a sabbatical"),
        ("the commitee's expenses", "the committee's expenses"),
        ("creatign an acount", "creating an account"),  # a slip in the ending, too
        ("lindqist.", "lindqvist."),
        ("\u043f\u0440\u0438\u0432\u0435\u0435\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("cezane", "c\u00e9zanne"),  # accents are no letters
        ("c\u00e9zane", "c\u00e9zanne"),
        ("expe\u00adnces", "expenses"),  # a soft hyphen is not seen
    ],
)
def test_a_slip_is_read_as_what_a_document_has(office: Engine, query: str, read: str) -> None:
    found = office.respelled(query)
    assert found.query == read
    assert found.changes
    assert all(change.typed in query and change.read in read for change in found.changes)


@pytest.mark.parametrize(
    "query",
    [
        "travel expenses",
        "the and of",
        "",
        "expeneeces",  # two slips
        "xpenses",  # first letters are believed
        "leeve",  # "leave" is one slip away, and is found first: see below
        "acct",  # short
        '"expences"',
        'what is "travel expences"',
        "expences7",
        "expEnces",
        "EXPENCES",
        "travel_expences",
        "expences.txt",
        "C:\\expences",
        "/expences",
        "#expences",
        "getExpencesById",  # nor are the parts of a name words
        "expences48371",
        '"c\u00e9zane"',
        "\u8cbb\u7528",
        "\ufe70" * 5,  # a letter, of which NFKC leaves none
        "\u037a" * 5,
        "\0\ud800" * 5,
    ],
)
def test_what_stays_as_it_is(office: Engine, query: str) -> None:
    if query == "leeve":
        assert office.respelled(query).query == "leave"
    elif query:
        assert office.respelled(query) == Respelled(query)


def speller(engine: Engine, *known: str) -> Speller:
    return Speller(engine.snapshot, Analyzer(), lambda word: word in known)


def test_what_a_model_knows_is_not_respelled_and_is_believed_first(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document(f"a{i}", "the plague") for i in range(3)])
        engine.add([Document("b", "the plaque")])
        assert speller(engine).respelled("plabue").query == "plague"  # of equals the most frequent
        assert speller(engine, "plaque").respelled("plabue").query == "plaque"
        assert speller(engine, "plabue").respelled("plabue").query == "plabue"


def test_a_rare_word_that_no_model_knows_may_be_a_slip_itself(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document(f"a{i}", f"number {i}") for i in range(10_000)])
        engine.add([Document("b", "a pateint waits")])
        assert speller(engine).respelled("pateinnt").query == "pateinnt"
        assert speller(engine, "pateint").respelled("pateinnt").query == "pateint"
        engine.add([Document("c", "another pateint waits")])
        assert speller(engine).respelled("pateinnt").query == "pateint"


@pytest.mark.parametrize("language", ["german", "english", "none"])
def test_an_umlaut_may_be_typed_as_two_letters(tmp_path: Path, language: str) -> None:
    words = Settings(dense_model=None, sparse_model=None, language=language)
    with Engine.create(tmp_path / "i.index", words) as engine:
        engine.add([Document("a", "K\u00fcndigung: die St\u00f6rche ziehen, sm\u00f8rrebr\u00f8d")])
        for typed in ("Kuendigng", "Kundigng", "K\u00fcndigng"):
            assert engine.respelled(typed).query == "K\u00fcndigung"
        assert engine.respelled("stoerhce").query == "st\u00f6rche"
        assert engine.respelled("Kuendigung") == Respelled("Kuendigung")  # as they are found
        assert [hit.id for hit in engine.search("Kuendigng")] == ["a"]


def test_words_of_deleted_documents_are_not_meant(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document("a", "travel expenses"), Document("b", "a sabbatical")])
        assert engine.respelled("expences").query == "expenses"
        engine.delete(["a"])
        assert engine.respelled("expences").query == "expences"
        assert engine.respelled("sabatical").query == "sabbatical"


def test_a_word_whose_stem_alone_is_near_is_not_meant(tmp_path: Path) -> None:
    """ "expences" and "expense" have stems that are one slip apart, and are themselves two."""
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document("a", "an expense")])
        assert engine.respelled("expences").query == "expences"
        engine.add([Document("b", "travel expenses")])
        assert engine.respelled("expences").query == "expenses"


def slowly(texts: list[str], word: str, known: set[str]) -> str:
    """Every word of every document is looked at."""
    counts = Counter(word for text in texts for word in set(text.split()))
    if word in counts or word in known or len(word) < 5:
        return word
    near = [
        (there not in known, -count, there)
        for there, count in counts.items()
        if there[0] == word[0] and one_slip(word, there)
    ]
    return min(near)[-1] if near else word


def one_slip(word: str, other: str) -> bool:
    letters = "abc"
    made = {word[:i] + word[i + 1 :] for i in range(len(word))}
    made |= {word[:i] + c + word[i:] for i in range(len(word) + 1) for c in letters}
    made |= {word[:i] + c + word[i + 1 :] for i in range(len(word)) for c in letters}
    made |= {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    return word != other and other in made


def test_of_very_many_words_the_first_ones_are_looked_up(tmp_path: Path) -> None:
    words = [f"expenses{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    with Engine.create(tmp_path / "i.index", PLAIN) as engine:
        engine.add([Document("a", " ".join(words))])
        typed = [f"expences{word[-1]}" for word in words]
        found = engine.respelled(" ".join([*typed, *typed]))
        expected = [*words[:MOST], *typed[MOST:]]
        assert found.query.split() == expected + expected


def test_of_very_long_passages_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchlib.spelling.READ", 30)
    with Engine.create(tmp_path / "i.index", PLAIN) as engine:
        engine.add([Document("a", f"travel {'and ' * 9} expenses")])
        assert engine.respelled("travvel expences").query == "travel expences"


def test_each_word_is_asked_of_the_model_once_a_query(office: Engine) -> None:
    asked: list[str] = []

    def knows(word: str) -> bool:
        asked.append(word)
        return True

    Speller(office.snapshot, Analyzer(), knows).respelled("hospital nurses, Hospital")
    assert asked == ["hospital", "nurses"]


WORDS = st.text("abc", min_size=4, max_size=7)


@given(st.lists(WORDS, min_size=1, max_size=10), st.lists(WORDS, max_size=3), WORDS)
@settings(deadline=None, max_examples=40)
def test_words_are_found_as_by_looking_at_all(
    tmp_path_factory: pytest.TempPathFactory, there: list[str], known: list[str], word: str
) -> None:
    path = tmp_path_factory.mktemp("words") / "i.index"
    with Engine.create(path, PLAIN) as engine:
        texts = [" ".join(there[: i + 1]) for i in range(len(there))]
        engine.add([Document(str(i), text) for i, text in enumerate(texts)])
        fast = Speller(engine.snapshot, Analyzer("none"), set(known).__contains__)
        expected = slowly(texts, word, set(known))
        assert fast.respelled(word) == Respelled(
            expected, (Change(word, expected),) if expected != word else ()
        )
        assert fast.respelled(f"{word} {word}").query == f"{expected} {expected}"


# -- by which retrievers


def test_hybrid_reads_and_single_retrievers_take_queries_as_they_are(office: Engine) -> None:
    assert [hit.id for hit in office.search("expences")] == ["travel"]
    assert office.search("expences", retriever="bm25") == []
    assert office.rank(["expences"])[0].ids == ("travel",)
    assert office.rank(["expences"], retriever="bm25")[0].ids == ()
    assert [hit.id for hit in office.page("expences").hits] == ["travel"]
    assert [hit.id for hit in office.search("expences", sort="id")] == ["travel"]
    assert office.respelled("expences", "bm25") == Respelled("expences")
    [hit] = office.search("expences", explain=True)
    assert "**expenses**" in hit.snippet
    assert hit.explanation is not None
    assert hit.explanation.recompute() == pytest.approx(hit.score, rel=1e-5)
    assert office.explain("expences", "travel").value == pytest.approx(hit.score, rel=1e-5)


def test_a_cursor_belongs_to_the_query_as_it_was_typed(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document(f"d{i}", "travel expenses" + " more" * i) for i in range(4)])
        first = engine.page("expences", 2)
        second = engine.page("expences", 2, cursor=first.cursor)
        assert [hit.id for hit in (*first.hits, *second.hits)] == ["d0", "d1", "d2", "d3"]


def test_what_is_made_of_the_hybrid_reads_too(engine: Engine) -> None:
    """With models, whose vocabulary counts; and hits have the scores of the query that is meant."""
    for retriever in ("hybrid", "instant", engine.refined("hybrid")):
        assert engine.respelled("the medicinne", retriever).query == "the medicine"
        typed = engine.search("the medicinne", retriever=retriever)
        meant = engine.search("the medicine", retriever=retriever)
        assert typed == meant
    for retriever in ("sparse", "dense", "lookup", engine.refined("sparse")):
        assert engine.respelled("the medicinne", retriever) == Respelled("the medicinne")


def test_a_reranker_reads_what_is_meant(engine: Engine) -> None:
    class Reader:
        name = "reader"
        asked: list[str] = []  # noqa: RUF012

        def score(self, query: str, texts: list[str]) -> object:
            import numpy as np

            self.asked.append(query)
            return np.zeros(len(texts), np.float32)

    reader = Reader()
    engine.search("the medicinne", retriever=engine.reranked("hybrid", reader))
    assert set(reader.asked) == {"the medicine"}
    reader.asked.clear()
    engine.search("the medicinne", retriever=engine.reranked("dense", reader))
    assert set(reader.asked) == {"the medicinne"}


def test_the_words_are_those_of_the_commit_that_is_searched(tmp_path: Path) -> None:
    with Engine.create(tmp_path / "i.index", WORDS_ONLY) as engine:
        engine.add([Document("a", "a sabbatical")])
        assert engine.respelled("expences").query == "expences"
        with Engine.open(engine.path) as other:
            engine.add([Document("b", "travel expenses")])
            assert engine.respelled("expences").query == "expenses"
            assert other.respelled("expences").query == "expences"
            other.refresh()
            assert other.respelled("expences").query == "expenses"
