"""Pseudo-queries: what is cut out of documents, how it is shared out, and what is held out."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchlib import Document
from searchlib.encoders.analyzer import Analyzer
from searchlib.errors import BadInput, BadQuery
from searchlib.training.extracting import Extractor, sentences
from searchlib.training.pairs import (
    OWN_KINDS,
    PairSettings,
    PseudoQuery,
    count_words,
    kinds_of,
    make_queries,
    read_pairs,
    read_queries,
    split_by_document,
    without_query,
    write_pairs,
)

TOPICS = ["bread", "river", "engine", "fever", "letter", "night", "school", "garden"]


def documents(count: int) -> list[Document]:
    return [
        Document(
            f"d{i}",
            f"The {TOPICS[i % 8]} number {i} was old. Who made the {TOPICS[(i + 3) % 8]} of town "
            f"{i}? Nobody knows where the {TOPICS[(i + 5) % 8]} of house {i} came from.",
            title=f"On {TOPICS[i % 8]} {i}",
        )
        for i in range(count)
    ]


def extractor(*texts: str) -> Extractor:
    words = Analyzer()
    return Extractor(words, count_words([Document(str(i), t) for i, t in enumerate(texts)], words))


def test_every_kind_and_its_place() -> None:
    """A document small enough to check by hand: each piece stands where it says it does."""
    text = "# Making bread\n\nYeast makes the dough rise. Does salt slow the yeast? It does so.\n"
    document = Document("d", text, title="The baker's book")
    cut, rng = extractor(text, "salt and yeast", "it does"), random.Random(0)
    assert list(cut.titles(document, rng)) == [("The baker's book", 0, 0)]
    assert [piece[0] for piece in cut.headings(document, rng)] == ["Making bread"]
    assert [piece[0] for piece in cut.questions(document, rng)] == ["Does salt slow the yeast?"]
    assert [p[0] for p in cut.key_sentences(document, rng)][-1] == "It does so."
    for function in (cut.headings, cut.questions, cut.key_sentences, cut.cloze, cut.crops):
        for query, start, end in function(document, rng):
            assert query in " ".join(text[start:end].split())
    (query, _, _), *_ = cut.keywords(document, rng)
    assert 3 <= len(query.split()) <= 7
    words = ("The baker's book " + text).replace("'", " ").replace(".", " ").replace("?", " ")
    places = [words.split().index(word) for word in query.split()]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Plain\n\nText that goes on.", []),  # one word
        ("Two words\n\nText that goes on.", ["Two words"]),
        ("Two words\nText that goes on.", []),  # a line of a paragraph
        ("Ends in a stop.\n\nText that goes on.", []),
        ("## Marked one\nText.", ["Marked one"]),
        ("Text first.\n\nLast line here", []),  # nothing under it
    ],
)
def test_headings(text: str, found: list[str]) -> None:
    pieces = extractor(text).headings(Document("d", text), random.Random(0))
    assert [piece[0] for piece in pieces] == found


def test_long_and_small_lettered_texts_have_sentences_too() -> None:
    small = "yeast makes the dough rise slowly. " * 20
    assert {piece[0] for piece in sentences(small)} == {"yeast makes the dough rise slowly."}
    unmarked = " ".join(f"word{i}" for i in range(100))
    pieces = sentences(unmarked)
    assert [len(piece[0].split()) for piece in pieces] == [25] * 4
    assert [unmarked[start:end] for _, start, end in pieces] == [piece[0] for piece in pieces]


@given(st.text(alphabet="aB .?\n#;x1é", max_size=300))
def test_sentences_stand_where_they_say(text: str) -> None:
    last = 0
    for piece, start, end in sentences(text):
        assert last <= start < end <= len(text)
        assert " ".join(text[start:end].split()) == piece
        assert len(piece.split()) >= 3 or any(mark in piece for mark in "#.;?")
        last = end


def test_queries_are_shared_by_kinds_and_documents() -> None:
    corpus = documents(40)
    queries = make_queries(lambda: corpus, PairSettings(most=120))
    assert len(queries) == 120
    kinds = Counter(query.kind for query in queries)
    assert set(kinds) == set(OWN_KINDS) - {"heading"}
    assert max(kinds.values()) - min(kinds.values()) <= 1
    for kind in ("cloze", "keywords"):  # 20 of each: no document gives two before any gives one
        assert len({q.document for q in queries if q.kind == kind}) == kinds[kind]
    assert len({query.text.casefold() for query in queries}) == len(queries)


def test_what_one_kind_cannot_fill_others_do() -> None:
    corpus = [Document(d.id, d.text) for d in documents(5)]  # no titles
    queries = make_queries(lambda: corpus, PairSettings(most=60))
    assert len(queries) > 25
    capped = make_queries(lambda: corpus, PairSettings(most=60, per_kind=3))
    assert max(Counter(query.kind for query in capped).values()) == 3


def test_the_seed_decides_and_the_order_of_documents_does_not() -> None:
    corpus = documents(30)
    first = make_queries(lambda: corpus, PairSettings(most=50))
    assert make_queries(lambda: corpus[::-1], PairSettings(most=50)) == first
    assert make_queries(lambda: corpus, PairSettings(most=50, seed=1)) != first


def test_documents_stream() -> None:
    """Documents are asked for twice, one after the other, and not held."""
    held: list[int] = []

    class Counted(Document):
        def __del__(self) -> None:
            held.append(-1)

    def stream():
        for d in documents(1200):
            held.append(1)
            yield Counted(d.id, d.text, d.title)
            assert sum(held) < 600

    assert len(make_queries(stream, PairSettings(most=10))) == 10


def test_nothing_to_make_queries_of() -> None:
    with pytest.raises(BadInput, match="no pseudo-queries"):
        make_queries(lambda: [Document("a", ""), Document("b", "One.")], PairSettings())


def test_held_out_by_document() -> None:
    corpus = documents(50)
    queries = make_queries(lambda: corpus, PairSettings(most=300))
    train, held_out = split_by_document(queries, 0.2, seed=0)
    assert {q.document for q in train}.isdisjoint({q.document for q in held_out})
    assert len({q.document for q in held_out}) == 10
    assert sorted([*train, *held_out], key=repr) == sorted(queries, key=repr)
    assert split_by_document(queries[:1], 0.5, seed=0) == (queries[:1], [])
    assert len(split_by_document(queries, 0.001, seed=0)[1]) > 0


def test_the_query_is_taken_out_of_its_document() -> None:
    text = "It rises. It rests. It bakes."
    rests = PseudoQuery("It rests.", "d", "cloze", 10, 19)
    assert without_query(rests, "Bread", text) == ("Bread", "It rises.  It bakes.")
    # a passage that begins at character 10, and one that begins within the query
    assert without_query(rests, "Bread", text[10:], 10) == ("Bread", " It bakes.")
    assert without_query(rests, "Bread", text[13:], 13) == ("Bread", " It bakes.")
    assert without_query(rests, "Bread", text[20:], 20) == ("Bread", "It bakes.")
    assert without_query(PseudoQuery("Bread", "d", "title"), "Bread", text) == ("", text)
    keywords = PseudoQuery("rises bakes", "d", "keywords", 0, len(text))
    assert without_query(keywords, "Bread", text) == ("Bread", text)


def test_pairs_round_trip(tmp_path: Path) -> None:
    queries = [PseudoQuery("ä\u2028b \ud800", "x\ny", "crop", 3, 9), PseudoQuery("b", "", "given")]
    write_pairs(tmp_path / "q.jsonl", queries)
    assert read_pairs(tmp_path / "q.jsonl") == queries
    (tmp_path / "q.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(BadInput, match=r"q\.jsonl:1"):
        read_pairs(tmp_path / "q.jsonl")


def test_queries_that_a_user_brings(tmp_path: Path) -> None:
    plain, topics = tmp_path / "q.txt", tmp_path / "q.jsonl"
    plain.write_text("first one\n\nsecond\nfirst one\n")
    topics.write_text('{"_id": "1", "text": "third"}\n')
    assert [query.text for query in read_queries(plain)] == ["first one", "second"]
    assert read_queries(topics) == [PseudoQuery("third", "", "given")]
    plain.write_text("\n")
    with pytest.raises(BadInput, match="no queries"):
        read_queries(plain)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"kinds": ("titel",)}, "titel"),
        ({"most": 0}, "most"),
        ({"per_kind": 0}, "per_kind"),
        ({"held_out": 1.0}, "held_out"),
        ({"held_out": float("nan")}, "held_out"),
    ],
)
def test_settings_out_of_range(values: dict, word: str) -> None:
    with pytest.raises(BadQuery, match=word):
        PairSettings(**values)


def test_kinds_by_name() -> None:
    assert kinds_of("title, crop") == ("title", "crop")
