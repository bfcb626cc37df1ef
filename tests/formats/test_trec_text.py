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


WIRE = """<DOC><DOCNO>WSJ-1</DOCNO><HL>Prices</HL><LP>Lead of all.</LP><TEXT>The rest.</TEXT></DOC>
<DOC><DOCNO>SJMN-1</DOCNO><LEADPARA>First.</LEADPARA><SECTION>Front</SECTION><TEXT>Then.</TEXT></DOC>
<DOC><DOCNO>FBIS-1</DOCNO><HEADER><DATE1>1 May</DATE1> Type:
<H3> <TI>  Elections  </TI></H3></HEADER><TEXT>Said <F P=1>twice <TI>x</TI></F>.</TEXT></DOC>
<DOC><DOCNO>APW-1</DOCNO><BODY><SLUG>bc</SLUG><HEADLINE>Flood</HEADLINE>
<TEXT><P>Water.</P></TEXT></BODY><TRAILER>EST</TRAILER></DOC>
<DOC><DOCNO>T-1</DOCNO><BODY><HEAD>One</HEAD><P>a</P><HEAD>Two</HEAD><P>b</P></BODY></DOC>
"""


def test_newswire_is_read_with_its_lead_and_with_titles_and_texts_inside(tmp_path):
    path = tmp_path / "wire.trec"
    path.write_text(WIRE)
    found = [(d.title, d.text.split(), d.metadata) for d in read(path)]
    assert found == [
        ("Prices", ["Lead", "of", "all.", "The", "rest."], {}),
        ("", ["First.", "Then."], {"section": "Front"}),
        ("Elections", ["Said", "twice", "x", "."], {"header": "1 May  Type:"}),
        ("Flood", ["Water."], {"body": "bc", "trailer": "EST"}),
        ("One", ["a", "Two", "b"], {}),
    ]


WEB = """<DOC>
<DOCNO>GX-1</DOCNO>
<DOCHDR>
http://a.gov/
HTTP/1.1 200 OK
Content-Type: text/html
</DOCHDR>
<html><head><title>Rivers &amp; lakes</title><script>var hidden = 1 < 2;</script></head>
<body><p>Salmon <b>return</b>.</p></body></html>
</DOC>
<DOC><DOCNO>WT-1</DOCNO><DOCOLDNO>IA-1</DOCOLDNO><DOCHDR>
HTTP/1.0 200</DOCHDR>
<title>Eels</title><h1>Eels</h1>They swim.<style>p {}</style></DOC>
<DOC><DOCNO>H-1</DOCNO> <!DOCTYPE html>
<HTML lang=en><TITLE>Crabs</TITLE>They walk.</HTML></DOC>
"""


def test_pages_of_a_crawl_are_read_as_html_without_their_headers(tmp_path):
    path = tmp_path / "web.trec"
    path.write_text(WEB)
    assert read(path) == [
        Document("GX-1", "Salmon return.", "Rivers & lakes"),
        Document("WT-1", "Eels\nThey swim.", "Eels", {"docoldno": "IA-1"}),
        Document("H-1", "They walk.", "Crabs"),
    ]
