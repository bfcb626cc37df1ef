"""Queries and filters of any kind of text, to every retriever: an answer, or one line of ours."""

from __future__ import annotations

import base64
import json

import pytest
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given
from hypothesis import strategies as st

from searchlib import Document, Engine
from searchlib.encoders.analyzer import Analyzer

PIECES = [
    "cat", "the", "bread", "Ünï", "\u96e8\u96e8", "\U0001f600", "\ud800", "\0", "\n", "\u202e",
    "##s", "[MASK]", "[CLS]", "a" * 3000, "' OR 1=1 --", '"', "%", "*", "{}", "\u0130",
    "\ufdfa" * 20, "é" * 500, "\ufe70" * 5, "\u037a" * 5, "breadd", "1-A-" * 99, "1,111,111",
]  # fmt: skip
TOKENS = [
    "year", "lang", "tags", "a.b.c", "=", "!=", ">", "<=", "in", "and", "or", "not", "(", ")", ",",
    '"en"', "'x'", "1999", "-1", "1e400", "9" * 400, "true", "null", "~", "*", '"', "\\", "\0", ";",
    "exists", "prefix", "starts", "%", "--", "/*", "; DROP TABLE documents", "\ud800", "[", "]",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map(" ".join)
filters = st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=10).map(" ".join)


def test_queries(engine: Engine) -> None:
    @fuzz(80)
    @given(
        texts, st.sampled_from(engine.retriever_names()), st.sampled_from(["document", "passage"])
    )
    def run(query: str, retriever: str, unit: str) -> None:
        with time_limit():
            try:
                hits = engine.search(query, 3, retriever=retriever, unit=unit)  # type: ignore
                for hit in hits:
                    assert hit.score == hit.score
                    engine.explain(query, hit.document, retriever=retriever)
            except OURS as error:
                one_line(error)

    run()


def test_cursors(engine: Engine) -> None:
    """What somebody made of a cursor: the page that it says, or one line of ours."""
    first = engine.page(k=2).cursor
    assert first is not None
    content = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    odd = st.sampled_from([None, True, -1, 0, 3, 2**31, 2**63, 10**400, 1.5, "", [], {}])
    altered = st.tuples(st.integers(0, 3), odd).map(
        lambda change: [change[1] if n == change[0] else x for n, x in enumerate(content)]
    )
    encoded = altered.map(lambda values: base64.urlsafe_b64encode(json.dumps(values).encode()))
    spoilt = spoiled([first.encode()]).map(lambda data: data.decode("utf-8", "surrogateescape"))

    @fuzz(150)
    @given(spoilt | encoded.map(bytes.decode) | st.text(max_size=30))
    def run(cursor: str) -> None:
        with time_limit():
            try:
                engine.page(k=2, cursor=cursor)
            except OURS as error:
                one_line(error)

    run()


def test_filters(engine: Engine) -> None:
    everything = set(engine.snapshot.all_ids())

    @fuzz(250)
    @given(filters)
    def run(expression: str) -> None:
        with time_limit():
            try:
                chosen = engine.snapshot.select(expression)
                assert {hit.id for hit in engine.search("light", 9, where=expression)} <= everything
                assert chosen is not None
            except OURS as error:
                one_line(error)

    run()


@pytest.mark.parametrize(
    "expression",
    ["(" * 100_000, "not " * 100_000 + "year = 1", "year = 1 and " * 50_000 + "year = 1",
     "year in (" + "1, " * 200_000 + "1)", "x" * 10**6 + " = 1", "a" + ".a" * 100_000 + " = 1",
     'lang = "' + "x" * 10**7 + '"'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_enormous_filters(engine: Engine, expression: str) -> None:
    with time_limit():
        try:
            engine.snapshot.select(expression)
        except OURS as error:
            one_line(error)


@fuzz(200)
@given(texts)
def test_the_analyzer(text: str) -> None:
    analyzer = Analyzer()
    for start, end, word in analyzer.tokens(text):
        assert 0 <= start < end <= len(text)
        assert word
    assert len(analyzer.encode_document([text])) == len(analyzer.encode_query([text])) == 1


def test_documents_of_any_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    from searchlib import Settings

    path = tmp_path_factory.mktemp("any") / "index"
    with Engine.create(path, Settings(dense_model=None, sparse_model=None)) as made:

        @fuzz(25)
        @given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=3))
        def run(documents: list[tuple[str, str, str]]) -> None:
            with time_limit():
                try:
                    made.add([Document(*document) for document in documents])
                except OURS as error:
                    one_line(error)
                    return
                for id, text, _ in documents:
                    assert made.snapshot.lookup([id])[0] >= 0
                    made.explain(text or "x", id)

        run()
        assert made.verify() == []
