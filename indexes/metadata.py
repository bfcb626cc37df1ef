"""Metadata as it is stored: JSON text that SQLite's functions can read."""

from __future__ import annotations

import json
import re
from typing import Any

INT64 = range(-(2**63), 2**63)  # whole numbers that are kept as such; SQLite reads others as float
MAX_DEPTH = 100  # nesting of metadata; SQLite's JSON functions refuse more than 1000
_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` with U+FFFD in place of lone surrogates, which UTF-8 cannot express."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as JSON text; ValueError for what JSON (or SQLite's reading of it) cannot hold."""
    if not metadata:
        return "{}"
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata is not JSON: {error}") from error
    if text.count("{") + text.count("[") > MAX_DEPTH and too_deep(metadata):
        raise ValueError(f"metadata is nested more than {MAX_DEPTH} levels deep")
    return storable(text)


def too_deep(metadata: dict[str, Any]) -> bool:
    """Whether metadata are nested more than MAX_DEPTH levels deep."""
    inner = any(isinstance(value, dict | list | tuple) for value in metadata.values())
    return inner and _depth(metadata) > MAX_DEPTH


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [
        member
        for container in level
        if isinstance(container, dict | list | tuple)
        for member in (container.values() if isinstance(container, dict) else container)
    ]:
        depth += 1
    return depth
