"""Semantic search with zero ML effort: BM25, learned-sparse and dense retrieval in one index.

Importing this loads nothing heavy; names are resolved on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Settings
    from .cursors import Page
    from .encoders.pruning import Pruning
    from .engine import Engine
    from .errors import SearchlibError
    from .expansion import Expansion, expand
    from .indexing import AddReport
    from .types import Document, Explanation, Hit, Ranking
    from .updating import UpdateReport

__version__ = "0.1.0"
__all__ = [
    "AddReport",
    "Document",
    "Engine",
    "Expansion",
    "Explanation",
    "Hit",
    "Page",
    "Pruning",
    "Ranking",
    "SearchlibError",
    "Settings",
    "UpdateReport",
    "expand",
]

_HOMES = {
    "AddReport": "indexing",
    "Document": "types",
    "Engine": "engine",
    "Expansion": "expansion",
    "Explanation": "types",
    "Hit": "types",
    "Page": "cursors",
    "Pruning": "encoders.pruning",
    "Ranking": "types",
    "SearchlibError": "errors",
    "Settings": "config",
    "UpdateReport": "updating",
    "expand": "expansion",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'searchlib' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
