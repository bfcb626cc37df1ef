"""How the memory that indexing may hold is divided, so that all its users together keep to it."""

from __future__ import annotations

from .errors import BadInput

MEMORY = 512 << 20  # bytes that indexing may hold beside the models, unless the user says
LEAST = 64_000_000  # bytes
FIXED = 52 << 20  # bytes that do not grow: words and their terms, documents on their way, layers
WRITING = 5  # times the writer's budget: its buffer, writing that out, and a merge beside
MERGING = 4  # times the largest field of a merged segment


def check_memory(memory: int) -> None:
    """Raise BadInput below `LEAST` bytes, which indexing needs for whatever corpus."""
    if memory < LEAST:
        raise BadInput(f"illegal memory: {memory:,} bytes, must be at least {LEAST:,} (64 MB)")


def for_writing(memory: int) -> int:
    """The budget of a writer, bytes, so that indexing holds `memory` bytes.

    >>> for_writing(512 << 20) >> 20
    92
    """
    check_memory(memory)
    return (memory - FIXED) // WRITING


def for_merging(memory: int) -> int:
    """The same for a writer that merges and does nothing else."""
    check_memory(memory)
    return (memory - FIXED) // MERGING
