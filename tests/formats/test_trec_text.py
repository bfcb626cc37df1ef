"""TREC's documents: SGML-like text."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchlib.errors import BadInput
from searchlib.formats import ReadOptions, read_documents
from searchlib.types import Document

TWO = """<DOC>
<DOCNO> SEA-1 </DOCNO>
<DATE>1999</DATE>
<HEADLINE>Eels &amp; crabs</HEADLINE>
<TEXT>
<P>An eel &lt; 2 m.</P>
<P>A crab.</P>
</TEXT>
<TEXT>More.</TEXT>
</DOC>

<doc><docno>SEA-2</docno>
No text element, &evil; if x<3 and y>4.
</doc>
"""


def read(path: Path, **options: object) -> list[Document]:
    return [document for document, _ in read_documents(path, ReadOptions(**options))]


@pytest.mark.parametrize("name", ["sea.trec", "sea.sgml", "sea.txt", "sea_1"])
def test_documents(tmp_path, name):
    path = tmp_path / name
    path.write_text(TWO)
    first, second = read(path)
    assert first == Document(
        "SEA-1", "An eel < 2 m. \n A crab.\nMore.", "Eels & crabs", {"date": "1999"}
    )
    assert second == Document("SEA-2", "No text element, &evil; if x<3 and y>4.")
    assert [origin for _, origin in read_documents(path)] == [f"{path}:1", f"{path}:12"]


def test_a_folder_of_files_without_endings(tmp_path):
    (tmp_path / "disk1").mkdir()
    (tmp_path / "disk1" / "sea_1").write_text(TWO)
    assert [document.id for document in read(tmp_path)] == ["SEA-1", "SEA-2"]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"<DOC>\n<TEXT>x</TEXT>\n</DOC>\n", 1, "<DOC> without <DOCNO>"),
        (b"\n<DOC>\n<DOCNO>a</DOCNO>\nx\n", 2, "<DOC> without </DOC>"),
        (
            b"<DOC>\n<DOCNO>a</DOCNO>\ncaf\xe9\n</DOC>\n",
            3,
            "not UTF-8: byte 0xe9 at byte 4; convert it, or name its encoding",
        ),
        (b"<DOC>\n<DOCNO>a</DOCNO>\n" + b"x y\n" * 99 + b"</DOC>\n", 1, "longer than 300 bytes"),
    ],
)
def test_bad_documents(tmp_path, content, line, reason):
    path = tmp_path / "sea.trec"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read(path, max_document_bytes=300)
    assert str(caught.value) == f"{path}:{line}: {reason}"
    path.write_bytes(b"<DOC><DOCNO>0</DOCNO>x</DOC>\n" + content)
    assert [d.id for d in read(path, max_document_bytes=300, skip_bad=True)] == ["0"]


def test_latin_1(tmp_path):
    path = tmp_path / "sea.trec"
    path.write_bytes(b"<DOC><DOCNO>a</DOCNO>caf\xe9</DOC>")
    assert read(path, encoding="latin-1") == [Document("a", "café")]


def test_many_tags_without_end_take_no_time(tmp_path):
    path = tmp_path / "sea.trec"
    path.write_text("<DOC><DOCNO>a</DOCNO>" + "<b>" * 200_000 + "< <" * 200_000 + "</DOC>")
    (document,) = read(path)
    assert document.id == "a"
