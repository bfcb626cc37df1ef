"""Printing results on stdout: tables on a terminal, JSON Lines when piped, TREC runs on request."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Format, RankingFormat

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text
    from rich.tree import Tree

    from searchlib.expansion import Expansion
    from searchlib.types import Explanation, Hit

BAR = 40  # characters of the longest bar
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OWN, EXPANSION = ("█", "cyan"), ("▒", "yellow")


def chosen(wanted: Format | None) -> Format:
    """The format asked for, or the one that suits where stdout goes."""
    if wanted is not None:
        return wanted
    return Format.table if sys.stdout.isatty() else Format.json


def chosen_for_rankings(wanted: RankingFormat | None) -> RankingFormat:
    """The same where rankings are printed."""
    return RankingFormat(chosen(None)) if wanted is None else wanted


def print_json(*values: object) -> None:
    """One line of JSON a value."""
    for value in values:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_trec(query: str, ranking: Iterable[tuple[str, float]], tag: str) -> None:
    """One line a result, as trec_eval reads it: query, Q0, id, rank, score, tag.

    Raises BadInput for an id with white space in it, which no TREC tool could read back.
    """
    from searchlib.evaluation.trec import write_run

    write_run({query: dict(ranking)}, sys.stdout, tag)


def must_be_writable(path: Path) -> None:
    """Raises BadInput if no file can be written there."""
    from searchlib.errors import BadInput

    if path.is_dir():
        raise BadInput(f"cannot write {path}: it is a folder; name a file")
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadInput(f"cannot write {path}: no permission")


def write_file(path: Path, text: str) -> None:
    """Writes the file; BadInput names it if that fails."""
    from searchlib.errors import BadInput

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from None


def console() -> Console:
    """The terminal; nothing that is printed is taken for markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def show(*renderables: RenderableType) -> None:
    """Prints on the terminal."""
    terminal = console()
    for renderable in renderables:
        terminal.print(renderable)


def plain(text: str) -> str:
    """The text on one line, without what a terminal would obey instead of show.

    >>> plain("a\\tb \\x1b[31mred")
    'a b �[31mred'
    """
    return _CONTROLS.sub("\ufffd", " ".join(text.split()))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; columns whose names begin with `>` are numbers, aligned right and never broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    terminal, cells = console(), [[_cell(cell) for cell in row] for row in rows]

    def width(number: int) -> int:
        return max((len(row[number]) for row in cells if isinstance(row[number], Text)), default=0)

    numbers = sum(
        max(width(number), len(column) - 1) + 2
        for number, column in enumerate(columns)
        if column.startswith(">")
    )
    room = terminal.width - numbers - 2
    close = len(columns) > 6 or width(0) > room  # else it would not fit 80 characters
    whole = width(0) <= min(room, terminal.width // 2)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=close)
    for number, column in enumerate(columns):
        right = column.startswith(">")
        table.add_column(
            Text(column.lstrip(">")),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or (number == 0 and whole),
        )
    for row in cells:
        table.add_row(*row)
    terminal.print(table)


def _cell(value: object) -> Any:
    from rich.text import Text

    is_renderable = hasattr(value, "__rich__") or hasattr(value, "__rich_console__")
    return value if is_renderable else Text(plain(str(value)))


def marked(snippet: str, style: str = "") -> Text:
    """A snippet or a title whose words between ** and ** stand out."""
    from rich.text import Text

    text = Text(style=style)
    for i, piece in enumerate(snippet.split("**")):
        text.append(_CONTROLS.sub("\ufffd", piece), style="bold" if i % 2 else "")
    return text


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    """A hit as JSON values; the keys `probability` and `explanation` only if there is one."""
    values: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "snippet": hit.snippet,
        "document": hit.document,
        "passage": hit.passage,
        "start": hit.start,
        "end": hit.end,
        "metadata": hit.metadata,
    }
    if hit.probability is not None:
        values["probability"] = hit.probability
    if hit.explanation is not None:
        values["explanation"] = hit.explanation.to_dict()
    return values


def print_hits(hits: Sequence[Hit], format: RankingFormat, query: str | None, tag: str) -> None:
    """One answer; `query` names it where there are several (JSON) or always (TREC)."""
    if format is RankingFormat.json:
        key = {} if query is None else {"query": query}
        print_json(*(key | hit_to_dict(hit) for hit in hits))
    elif format is RankingFormat.trec:
        print_trec(query or "1", ((hit.id, hit.score) for hit in hits), tag)
    else:
        _show_hits(hits)


def _show_hits(hits: Sequence[Hit]) -> None:
    from rich.console import Group
    from rich.text import Text

    if not hits:
        show(Text("nothing found"))
        return
    print_table(
        (">", ">score", "document"),
        (
            (
                hit.rank,
                f"{hit.score:.4f}",
                Group(
                    _heading(hit),
                    marked(hit.snippet),
                ),
            )
            for hit in hits
        ),
    )
    show(*(tree(hit.explanation, _named(hit)) for hit in hits if hit.explanation is not None))


def _named(hit: Hit) -> str:
    return hit.id if hit.probability is None else f"{hit.id} (p = {hit.probability:.2f})"


def _heading(hit: Hit) -> Text:
    from rich.text import Text

    id, title = plain(hit.id), marked(hit.marked_title, "cyan")
    return Text.assemble(title, f"  {id}") if title.plain else Text(id, "cyan")


def tree(explanation: Explanation, title: str = "") -> Tree:
    """An explanation as a tree of lines `value  name`."""
    from rich.tree import Tree

    root = Tree(_line(explanation, title))
    _grow(root, explanation)
    return root


def _grow(branch: Tree, explanation: Explanation) -> None:
    for part in explanation.parts:
        _grow(branch.add(_line(part)), part)


def _line(node: Explanation, title: str = "") -> Text:
    from rich.text import Text

    how = f"  ({node.how} of)" if node.parts else ""
    return Text.assemble(
        (f"{plain(title)}  " if title else "", "cyan"),
        (f"{node.value:.4f}", "bold"),
        f"  {plain(node.name)}{how}",
        (f"  {plain(node.note)}" if node.note else "", "dim"),
    )


def show_expansion(terms: Sequence[Expansion], k: int) -> None:
    """The k heaviest terms as bars, and how much weight is not on the text's own words."""
    from rich.text import Text

    from searchlib.expansion import outside_share

    longest = max((len(term.term) for term in terms[:k]), default=0)
    for term in terms[:k]:
        width = round(BAR * term.weight / terms[0].weight)
        bar = OWN if term.source == "text" else EXPANSION
        show(Text.assemble(f"{term.term:>{longest}} {term.weight:6.3f} ", (bar[0] * width, bar[1])))
    more = f"; {len(terms) - k} more terms" if len(terms) > k else ""
    outside = f" with {outside_share(list(terms)):.0%} of the weight{more}"
    show(
        Text.assemble(
            (f"{OWN[0]} the text's own", OWN[1]),
            "  ",
            (f"{EXPANSION[0]} outside it", EXPANSION[1]),
            outside,
        )
    )
