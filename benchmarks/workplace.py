"""What the tasks of engine.py share: material, sizes, rounds, and indexes made once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_room import Ours, ours
from material import Length, Material
from report import say

Csr = Any
QUICK_SIZES = (5_000,)
SIZES = (10_000, 100_000, 1_000_000)
NAMES: dict[Length, str] = {"short": "40 terms", "passage": "200 terms"}


@dataclass
class Workplace:
    """`folder` is for what is thrown away; `data`, if given, a folder of BEIR folders.

    `without`: peers to leave out. `lengths`: of documents, in the task `sparse`.
    """

    material: Material
    folder: Path
    sizes: Sequence[int] = SIZES
    rounds: int = 5
    quick: bool = False
    data: Path | None = None
    without: Collection[str] = ()
    lengths: Sequence[Length] = ("short", "passage")
    _made: dict[tuple[str, int], Ours] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How many queries each round asks."""
        return 50 if self.quick else 200

    @property
    def threads(self) -> tuple[int, ...]:
        """On how many threads batches are answered; numba compiles anew for two."""
        return (1,) if self.quick else (1, 2)

    def sparse(self, length: Length, size: int, documents: Csr | None = None) -> Ours:
        """Our index of the vectors of this length and size, made when first wanted."""
        key = (length, size)
        if key not in self._made:
            if documents is None:
                say(f"sparse, {NAMES[length]}: making {size:,} vectors")
                documents = self.material.documents(length, size)
            say(f"sparse, {NAMES[length]}: indexing {size:,} vectors")
            queries = self.material.asked(length, self.asked)
            self._made[key] = ours(self.folder / f"{length}-{size}.index", documents, queries)
        return self._made[key]
