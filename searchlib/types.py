"""The values that travel through searchlib: documents, passages, hits, rankings, explanations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from indexes.types import TermVectors, Unit

__all__ = ["Document", "Explanation", "Hit", "Passage", "Ranking", "TermVectors", "Unit"]


@dataclass(frozen=True)
class Document:
    """What the user gave: an id, a text, and whatever else belongs to it (JSON values)."""

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """A piece of a document's text, `document.text[start:end]`; what the encoders read."""

    document: str  # the document's id
    number: int  # 0, 1, ... within the document; named "id#number"
    start: int  # characters
    end: int
    text: str  # what is encoded: title, a space, and the piece

    @property
    def id(self) -> str:
        """`document#number`."""
        return f"{self.document}#{self.number}"


@dataclass(frozen=True)
class Ranking:
    """One query's answer: ids best first, with their scores; ranks start at 1."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(zip(self.ids, self.scores, strict=True))


Combination = Literal["leaf", "sum", "product", "max", "exp"]


@dataclass(frozen=True)
class Explanation:
    """A score as a tree of named parts; each node's value follows from its parts.

    `how` says how: "leaf" (no parts), "sum", "product", or "max" of the parts' values,
    or "exp", e to the power of its one part.

    >>> parts = (Explanation(2.0, "idf"), Explanation(0.5, "tf"))
    >>> Explanation(1.0, "term 'blues'", "product", parts).recompute()
    1.0
    """

    value: float
    name: str
    how: Combination = "leaf"
    parts: tuple[Explanation, ...] = ()
    note: str = ""

    def recompute(self) -> float:
        """The value computed anew from the leaves; equals `value` when the tree is honest."""
        values = [part.recompute() for part in self.parts]
        if self.how == "sum":
            return float(sum(values))
        if self.how == "max":
            return max(values, default=0.0)
        if self.how == "product":
            result = 1.0
            for value in values:
                result *= value
            return result
        if self.how == "exp":
            return math.exp(values[0])
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """The tree as JSON values: value, name, how, note and parts (the last two if any)."""
        node: dict[str, Any] = {"value": self.value, "name": self.name, "how": self.how}
        if self.note:
            node["note"] = self.note
        if self.parts:
            node["parts"] = [part.to_dict() for part in self.parts]
        return node


@dataclass(frozen=True)
class Hit:
    r"""One line of an answer.

    In `snippet` and `marked_title`, matched words stand between ** and **. A star of the text that
    could be read as a mark (in a run of stars, or beside a mark) is shown as ∗ (U+2217), so there
    are no others:

    >>> import html, re
    >>> re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape("2 < **x*y** ∗∗ 3"))
    '2 &lt; <b>x*y</b> ∗∗ 3'
    """

    rank: int  # 1, 2, ...
    id: str  # the document's id, or "id#n" where passages were asked for
    score: float
    title: str
    snippet: str  # the best sentences of the best passage, marked
    document: str
    passage: int  # number of the best passage within the document
    start: int  # the best passage's place in the document's text, in characters
    end: int
    metadata: dict[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None
    probability: float | None = None  # of being relevant; None where nobody asked
    marked_title: str = ""  # the title with its matched words marked, as in the snippet
