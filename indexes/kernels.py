"""The optional C extension (see `native/`): where it was not built, numpy does the same work."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def native() -> Any | None:
    """The module `indexes._kernels`, or None where it was not built."""
    try:
        from . import _kernels  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _kernels
