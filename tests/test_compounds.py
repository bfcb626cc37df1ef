"""Compounds written like getElementById: the whole is a word, and so is each of its parts."""

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
        ("größeÄnderung straßeNord", ["größeänderung", "straßenord", "straße", "nord"]),
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
