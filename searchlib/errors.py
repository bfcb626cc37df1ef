"""What can go wrong, each error named for its situation; the message is one line for the user."""

from __future__ import annotations

from indexes.errors import (
    BadFilter,
    Closed,
    Damaged,
    IndexExists,
    Locked,
    NoIndex,
    SearchlibError,
    StorageFailed,
    UnsupportedFormat,
)

__all__ = [
    "BadDocument",
    "BadFilter",
    "BadInput",
    "BadQuery",
    "Closed",
    "Damaged",
    "IndexExists",
    "Interrupted",
    "Locked",
    "ModelMismatch",
    "ModelNotFound",
    "NoIndex",
    "NotFound",
    "NotReproduced",
    "SearchlibError",
    "StorageFailed",
    "UnsupportedFormat",
    "UnsupportedModel",
    "check_k",
    "check_query",
    "check_seed",
    "check_unit",
    "check_where",
    "cut",
    "shown",
]

SHOWN = 60  # characters of what a message quotes


class BadInput(SearchlibError):
    """A document, file or line that cannot be read as what it should be."""


class BadDocument(BadInput):
    """One line, file or document that cannot be used, while the others may be; skippable."""


class BadQuery(SearchlibError):
    """A query, k, setting, measure or retriever name that makes no sense; of filters: BadFilter."""


def cut(text: str) -> str:
    """A text as a message quotes it, which a long one must not fill."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def shown(value: object) -> str:
    """Any value as a message quotes it."""
    try:
        return cut(repr(value))
    except Exception:
        return "what cannot be shown"


def check_k(k: int) -> None:
    """Refuse a number of results that is none. Raises BadQuery."""
    if not hasattr(k, "__index__") or k < 1:
        raise BadQuery(f"illegal k: {k!r}, must be a whole number, 1 or more")


def check_query(query: str) -> None:
    """Refuse a query that is none. Raises BadQuery."""
    if not isinstance(query, str):
        raise BadQuery(f"illegal query: {shown(query)}, must be a text")
    if not query.strip():
        raise BadQuery("the query is empty; give at least one word")


def check_seed(seed: int) -> None:
    """Refuse a seed that a generator of random numbers may not take. Raises BadQuery."""
    if not hasattr(seed, "__index__") or not 0 <= seed < 1 << 63:
        raise BadQuery(f"illegal seed: {seed!r}, must be a whole number from 0 to 2**63 - 1")


def check_unit(unit: str) -> None:
    """Refuse what is neither a document nor a passage. Raises BadQuery."""
    if unit not in ("document", "passage"):
        raise BadQuery(f"illegal unit: {unit!r}, must be 'document' or 'passage'")


def check_where(where: str) -> None:
    """Refuse a filter that is no text. Raises BadFilter."""
    if not isinstance(where, str):
        raise BadFilter(f"illegal filter: {shown(where)}, must be a text such as 'year >= 2000'")


class ModelNotFound(SearchlibError):
    """No place that was tried has the model's files."""


class UnsupportedModel(SearchlibError):
    """The model's files are there, but they are not of a kind that can be used here."""


class ModelMismatch(SearchlibError):
    """The index was built with another model, or with other settings of it."""


class NotFound(SearchlibError):
    """No such document, passage or index."""


class NotReproduced(SearchlibError):
    """A recorded figure is another one now, or cannot be derived again."""


class Interrupted(SearchlibError):
    """The work was stopped by the user; what was committed stays."""
