"""Jupyter notebooks: what was written and programmed in them, without what came out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .files import heading, one_document
from .jsonl import parse_json
from .options import BadLine, Item, ReadOptions
from .records import BadRecord
from .streams import Source, whole_text


def read_notebook(source: Source, options: ReadOptions) -> Iterator[Item]:
    """The cells' sources, an empty line between them; the title is the first heading."""
    content = whole_text(source, options)
    if isinstance(content, BadLine):
        yield content
        return
    try:
        cells = list(_cells(parse_json(content)))
    except BadRecord as error:
        yield BadLine(source.name, None, f"not a notebook: {error}")
        return
    titles = (heading(text) for kind, text in cells if kind == "markdown")
    text = "\n\n".join(text for _, text in cells)
    yield one_document(source, next(filter(None, titles), ""), text)


def _cells(notebook: Any) -> Iterator[tuple[str, str]]:
    """(kind, source) of each cell that is not empty. Raises BadRecord."""
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BadRecord("no list of cells; notebooks of before 2015 must be converted")
    for number, cell in enumerate(notebook["cells"], 1):
        lines = cell.get("source") if isinstance(cell, dict) else None
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            lines = "".join(lines)  # each has its line's end
        if not isinstance(lines, str):
            raise BadRecord(f"cell {number} has no source")
        if lines.strip():
            yield str(cell.get("cell_type")), lines.strip("\n")
