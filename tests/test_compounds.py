"""Compounds like getElementById, identifiers written apart or together: found either way."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchlib import Document, Engine, Settings
from searchlib.encoders.analyzer import Analyzer


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("parseFile", ["parsefile", "parse", "file"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("getX2Text", ["getx2text", "get", "x2", "text"]),
        ("NASA IDs CO2 H2O PhD", ["nasa", "ids", "co2", "h2o", "phd", "ph"]),
        ("iPhone McDonald", ["iphone", "phone", "mcdonald", "mc", "donald"]),
        ("aB 2Pac utf8Decode", ["ab", "2pac", "pac", "utf8decode", "utf8", "decode"]),
        ("straßeNord", ["strassenord", "strasse", "nord"]),
        ("größeÄnderung", ["grosseanderung", "groesseaenderung"]),
        ("E1042 CO2 abc12", ["e1042", "1042", "co2", "abc12"]),
        ("猫parseFile", ["猫", "parsefile", "parse", "file"]),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert Analyzer("none").terms(text) == terms


def test_names_of_code_are_found_by_their_parts(tmp_path: Path) -> None:
    documents = [
        Document("reader", "def parseHTTPReply(line): ..."),
        Document("prose", "To parse means to take apart."),
        Document("other", "iPhone and getElementById"),
    ]
    with Engine.create(tmp_path / "index", Settings(sparse_model=None, dense_model=None)) as engine:
        engine.add(documents)

        def found(query: str) -> list[str]:
            return [hit.id for hit in engine.search(query, retriever="bm25")]

        assert found("http reply") == ["reader"]
        assert found("parseHTTPReply") == ["reader", "prose"]
        assert found("PARSEHTTPREPLY") == ["reader"]
        assert found("element phone") == ["other"]
        [hit] = engine.search("reply", retriever="bm25")
        assert hit.snippet == "def parseHTTP**Reply**(line): ..."
        parts = engine.explain("http reply", "reader", retriever="bm25")
        assert abs(parts.recompute() - parts.value) < 1e-6


@pytest.mark.parametrize(
    ("query", "id"),
    [
        ("xj900", "drill"),
        ("XJ 900", "drill"),
        ("ral7016", "paint"),
        ("RAL-7016", "paint"),
        ("1500", "count"),
        ("48371", "ticket"),
        ("INC-48371", "ticket"),
        ("5v", "relay"),
        ("Cezanne", "painter"),
        ("stoerche", "birds"),
    ],
)
def test_what_is_spelled_otherwise_is_found(tmp_path: Path, query: str, id: str) -> None:
    texts = {
        "drill": "The XJ-900 drill",
        "paint": "Grey, RAL 7016",
        "count": "It has 1,500 seats",
        "ticket": "See INC48371",
        "relay": "A relay of 5 V",
        "painter": "by Paul Cézanne",
        "birds": "Viele Störche",
    }
    with Engine.create(tmp_path / "index", Settings(sparse_model=None, dense_model=None)) as engine:
        engine.add(Document(id, text) for id, text in texts.items())
        [hit] = engine.search(query, retriever="bm25")
        assert hit.id == id
        assert "**" in hit.snippet


@pytest.mark.parametrize("query", ["Müller", "Müller Müller", "the Müller"])
def test_one_spelling_of_a_word_covers_it(tmp_path: Path, query: str) -> None:
    """What has all that is asked for has each word in one way: BM25's weight hangs on it."""
    with Engine.create(tmp_path / "index", Settings(sparse_model=None, dense_model=None)) as engine:
        engine.add([Document("a", "Herr Mueller"), Document("b", "nobody at all here")])
        retriever = engine.retriever("bm25_passage")
        full = retriever.full_score(query, None, "document")
        assert full == retriever.full_score(query.replace("ü", "ue"), None, "document")
        both = retriever.full_score("Muller", None, "document")
        assert both is not None
        assert full is not None
        assert 0 < full < both * len(query.replace("the", "").split())
