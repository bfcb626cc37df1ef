"""Files that are one document each: plain text, Markdown, HTML, PDF."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ..types import Document
from .options import BadLine, Item, ReadOptions
from .records import BadRecord, clean
from .streams import COMPRESSED, Source, whole_bytes, whole_text

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$|^(\S.*)\n(?:=+|-+)[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~)", re.MULTILINE)
_HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object"}
_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp "
    "small span strike strong sub sup time tt u var wbr"
)
_IN_LINE = frozenset(_INLINE.split())  # all other elements begin a line
_SPACES = re.compile(r"\s+")
_PDF_PAGES = 20_000
_PDF_SECONDS = 300.0


def read_text(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The file as it is; its title is its name without the ending."""
    text = whole_text(source, options)
    yield text if isinstance(text, BadLine) else one_document(source, "", text)


def read_markdown(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The text with its marks, without front matter; the title is that of the front matter or
    the first heading."""
    text = whole_text(source, options)
    if isinstance(text, BadLine):
        yield text
        return
    title = ""
    front = _FRONT_MATTER.match(text)
    if front is not None:
        text = text[front.end() :]
        named = _FRONT_TITLE.search(front[1] or "")
        title = named[1].strip("\"'") if named else ""
    if not title:
        title = heading(text)
    yield one_document(source, title, text)


def heading(markdown: str) -> str:
    """The first heading of a text that stands before any block of code; "" where there is none."""
    fence = _FENCE.search(markdown)
    found = _HEADING.search(markdown, 0, fence.start() if fence else len(markdown))
    return (found[1] or found[2]) if found else ""


def read_html(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The text that is to be seen, a line a block; the title is <title> or the first <h1>."""
    data = whole_bytes(source, options)
    if isinstance(data, BadLine):
        yield data
        return
    try:
        title, text = seen_on_page(data)
    except BadRecord as error:
        yield BadLine(source.name, None, str(error))
        return
    yield one_document(source, title, text)


def seen_on_page(data: bytes) -> tuple[str, str]:
    """Title and visible text of a page of HTML. Raises BadRecord."""
    import lxml.html

    try:
        data.decode("utf-8")
        encoding: str | None = "utf-8"
    except UnicodeDecodeError:
        encoding = None  # lxml looks for what the page says of itself
    parser = lxml.html.HTMLParser(
        encoding=encoding, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        tree = lxml.html.document_fromstring(data.replace(b"\0", b"") or b"<p>", parser=parser)
    except (lxml.etree.LxmlError, ValueError) as error:
        raise BadRecord(f"not HTML: {' '.join(str(error).split())}") from None
    for flaw in parser.error_log:
        if flaw.type_name == "ERR_RESOURCE_LIMIT":  # subtle: lxml would go on without the text
            raise BadRecord("not read: nested too deeply")
    title = tree.findtext(".//title") or ""
    if not title.strip():
        heading = tree.find(".//h1")
        title = "".join(heading.itertext()) if heading is not None else ""
    return " ".join(title.split()), _visible(tree)


def read_pdf(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The text of the pages, an empty line between them; nothing is drawn or executed.

    Bad are: files with a password, without any text (scans), of over 20,000 pages, or that take
    over five minutes.
    """
    data = whole_bytes(source, options)
    yield data if isinstance(data, BadLine) else _pdf(source, data)


def _pdf(source: Source, data: bytes) -> Item:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every flaw it mends
    started = time.monotonic()
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return BadLine(source.name, None, "a PDF with a password")
        if len(reader.pages) > _PDF_PAGES:
            return BadLine(source.name, None, f"{len(reader.pages):,} pages, over {_PDF_PAGES:,}")
        pages = []
        for page in reader.pages:
            pages.append(page.extract_text())
            if time.monotonic() - started > _PDF_SECONDS:
                return BadLine(source.name, None, f"not read in {_PDF_SECONDS:.0f} seconds")
        title = str((reader.metadata.title if reader.metadata else "") or "")
    except MemoryError:
        raise
    except Exception as error:  # pypdf raises whatever its data makes fail
        reason = str(error).split("\n", 1)[0][:120] or type(error).__name__
        return BadLine(source.name, None, f"not readable as PDF: {reason}")
    text = "\n\n".join(page.strip() for page in pages)
    if not text.strip():
        return BadLine(source.name, None, "a PDF without text (scanned?)")
    return one_document(source, clean(" ".join(title.split())), clean(text))


def _visible(tree: Any) -> str:
    """The text outside of hidden elements, a line a block, white space as a browser shows it."""
    from lxml.etree import iterwalk

    parts: list[str] = []
    hidden = 0
    for event, element in iterwalk(tree, events=("start", "end")):
        tag = element.tag if isinstance(element.tag, str) else "script"
        if tag in _HIDDEN:
            hidden += 1 if event == "start" else -1
        elif tag not in _IN_LINE:
            parts.append("\n")
        if not hidden:
            text = element.text if event == "start" else element.tail
            parts.append(_SPACES.sub(" ", text or ""))
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def one_document(source: Source, title: str, text: str) -> Item:
    """The file as one document; without a title it has its name, without the ending."""
    name = PurePosixPath(source.id)
    if name.suffix.lower() in COMPRESSED:
        name = name.with_suffix("")
    return Document(source.id, text, title or name.stem), source.name
