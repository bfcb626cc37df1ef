"""How documents are read, and what is said about those that cannot be."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from indexes.errors import one_line

from ..errors import BadDocument, BadInput
from ..types import Document


@dataclass(frozen=True)
class BadLine:
    """A line (row, document, file) that could not be read, and why.

    >>> str(BadLine("notes.jsonl", 7, "not JSON"))
    'notes.jsonl:7: not JSON'
    """

    file: str
    line: int | None  # 1, 2, ...; None: the file as a whole
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return one_line(f"{place}: {self.reason}")


Item = tuple[Document, str] | BadLine
"""What readers yield: a document and where it came from ("file:line"), or what is wrong there."""


@dataclass(frozen=True)
class ReadOptions:
    """Which fields make a document, and what happens to what cannot be read.

    id, title: the field's name; default: guessed by name (`_id`, `id`, `docno`; `title`, ...).
    text: names of the fields that make the text, joined by line ends; default: guessed.
    metadata: names of the fields to keep as metadata; default: all others; (): none.
    format: one of `searchlib.formats.read.READERS`; default: by the file's name, then content.
    encoding: of text; UTF-8 with or without a byte order mark unless told otherwise.
    skip_bad: pass over what cannot be read and go on, instead of raising BadInput.
    on_bad: called with each BadLine that is passed over, or of a folder's file that cannot be read
        at all with the BadDocument; as text both are one line.
    on_skip: called, for each file in a folder that is of no known kind and each link that is not
        followed, with its name and why.
    max_document_bytes: a longer line (or file that is one document) is not read but bad.

    Raises BadInput if there is no such encoding.
    """

    id: str | None = None
    title: str | None = None
    text: tuple[str, ...] | None = None
    metadata: tuple[str, ...] | None = None
    format: str | None = None
    encoding: str = "utf-8"
    skip_bad: bool = False
    on_bad: Callable[[BadLine | BadDocument], None] | None = None
    on_skip: Callable[[str], None] | None = None
    max_document_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise BadInput(f"unknown encoding {self.encoding!r}; such as: utf-8, latin-1") from None
