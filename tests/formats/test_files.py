"""Files that are one document: text, Markdown, HTML, PDF, notebooks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pypdf
import pytest

from searchlib.errors import BadInput
from searchlib.formats import ReadOptions, read_documents
from searchlib.types import Document


def read(path: Path, content: bytes | str, **options: object) -> Document:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    ((document, origin),) = read_documents(path, ReadOptions(**options))
    assert origin == str(path)
    return document


def test_text(tmp_path):
    document = read(tmp_path / "Old notes.txt", "\ufeffOne\r\ntwo\0\n")
    assert document == Document("Old notes.txt", "One\ntwo\n", "Old notes")


def test_text_that_is_none(tmp_path):
    for name in ("a.txt", "a.md"):
        with pytest.raises(
            BadInput,
            match=r"a\.(txt|md): not UTF-8: byte 0xff at byte 1; convert it, or name its encoding$",
        ):
            read(tmp_path / name, b"\xff\x00")
    with pytest.raises(BadInput, match="longer than 10 bytes"):
        read(tmp_path / "a.txt", "x" * 11, max_document_bytes=10)


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("# The *eel* #\n\nLong.", "The *eel*", "# The *eel* #\n\nLong."),
        ("Eels\n====\nLong.", "Eels", "Eels\n====\nLong."),
        ("---\ntitle: 'Sea life'\ntags: [x]\n---\n# Eel\n", "Sea life", "# Eel\n"),
        ("---\ntags: [x]\n---\n## Eel\n", "Eel", "## Eel\n"),
        ("Just words.\n```\n# no heading\n```\n", "notes", None),
        ("---\nno front matter", "notes", None),
    ],
)
def test_markdown(tmp_path, content, title, text):
    document = read(tmp_path / "notes.md", content)
    assert (document.title, document.text) == (title, content if text is None else text)


def test_html(tmp_path):
    page = """<!DOCTYPE html><html><head><title> Sea
      life </title><style>p {color: red}</style></head>
    <body><nav>Home</nav><script>alert("no")</script><!-- no -->
    <h1>Eels</h1><p>An <b>ee</b>l is
    long &amp; thin&nbsp;.<br>It<p>swims<noscript>no</noscript> far
    <ul><li>one<li>two</ul><template>no</template></body></html>"""
    document = read(tmp_path / "sea.html", page)
    assert document.title == "Sea life"
    assert document.text.split("\n") == [
        "Home", "Eels", "An eel is long & thin .", "It", "swims far", "one", "two",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["", "plain words", "<", "<html>", "\0"])
def test_html_that_is_hardly_any(tmp_path, content):
    document = read(tmp_path / "sea.html", content)
    assert document.title == "sea"
    assert document.text == ("plain words" if content == "plain words" else document.text)


def test_html_encodings(tmp_path):
    assert read(tmp_path / "a.html", "<p>café").text == "café"
    said = '<meta charset="iso-8859-15"><p>caf\xe9 \xa4'.encode("latin-1")
    assert read(tmp_path / "b.html", said).text == "café €"
    xhtml = '<?xml version="1.0" encoding="utf-8"?><html><body><p>café</p></body></html>'
    assert read(tmp_path / "c.xhtml", xhtml).text == "café"


def test_html_entities_of_its_own_are_not_expanded(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("top secret")
    bomb = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    page = f"""<?xml version="1.0"?><!DOCTYPE html [<!ENTITY e0 "ha">{bomb}
      <!ENTITY x SYSTEM "file://{secret}">]><html><body>&e9; &x; end</body></html>"""
    text = read(tmp_path / "a.html", page).text
    assert "secret" not in text.replace(str(secret), "")
    assert text.count("ha") <= 1
    assert text.endswith("end")


def test_html_nested_deeply_or_very_long_is_read_whole_or_refused(tmp_path):
    nested = "<div>" * 900 + "deep" + "</div>" * 900 + "<p>end"
    assert read(tmp_path / "a.html", nested).text == "deep\nend"
    long = read(tmp_path / "b.html", "<p>" + "word " * 2_500_000 + "<p>end")
    assert (len(long.text), long.text[-3:]) == (12_500_003, "end")
    with pytest.raises(BadInput, match=r"c\.html: not read: nested too deeply"):
        read(tmp_path / "c.html", "<div>" * 200_000 + "deep")


def a_pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF of one line of text a page."""
    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(200, 200)
        content = pypdf.generic.StreamObject()
        content.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode() if text else b"")
        name = pypdf.generic.NameObject
        font = pypdf.generic.DictionaryObject(
            {name("/Type"): name("/Font"), name("/Subtype"): name("/Type1"),
             name("/BaseFont"): name("/Helvetica")}
        )  # fmt: skip
        fonts = pypdf.generic.DictionaryObject({name("/F1"): font})
        page[name("/Resources")] = pypdf.generic.DictionaryObject({name("/Font"): fonts})
        page[name("/Contents")] = writer._add_object(content)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def test_pdf(tmp_path):
    document = read(tmp_path / "sea.pdf", a_pdf("An eel.", "A crab.", title="Sea  life"))
    assert document == Document("sea.pdf", "An eel.\n\nA crab.", "Sea life")
    assert read(tmp_path / "crab.pdf", a_pdf("A crab.")).title == "crab"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%PDF-1.4\nbroken", "not readable as PDF: "),
        (b"", "not readable as PDF: "),
        (a_pdf("An eel.", password="secret"), "a PDF with a password"),
        (a_pdf(""), r"a PDF without text \(scanned\?\)"),
        (a_pdf("An eel.")[:300], "not readable as PDF: "),
    ],
    ids=["broken", "empty", "password", "blank", "cut short"],
)
def test_pdf_that_cannot_be_read(tmp_path, content, reason):
    with pytest.raises(BadInput, match=rf"sea\.pdf: {reason}") as caught:
        read(tmp_path / "sea.pdf", content)
    assert "\n" not in str(caught.value)


def test_notebook(tmp_path):
    cells = [
        {"cell_type": "code", "source": "import numpy\n\n"},
        {"cell_type": "markdown", "source": ["# Eels\n", "\n", "How long are they?"]},
        {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": [{"text": "unseen"}]},
        {"cell_type": "raw", "source": []},
    ]
    path = tmp_path / "eels.ipynb"
    text = "import numpy\n\n# Eels\n\nHow long are they?\n\nx = 1\nx"
    content = json.dumps({"cells": cells, "nbformat": 4}, indent=1)
    assert read(path, content) == Document("eels.ipynb", text, "Eels")
    assert read(path, json.dumps({"cells": cells[:1]})).title == "eels"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a notebook: not JSON"),
        ("[]", "not a notebook: no list of cells"),
        ('{"worksheets": [], "nbformat": 3}', "no list of cells; notebooks of before 2015"),
        ('{"cells": [{"source": ""}, {"source": [1]}]}', "not a notebook: cell 2 has no source"),
        ('{"cells": [3]}', "not a notebook: cell 1 has no source"),
    ],
)
def test_notebook_that_is_none(tmp_path, content, reason):
    with pytest.raises(BadInput) as caught:
        read(tmp_path / "a.ipynb", content)
    assert reason in str(caught.value)
