"""Opening an index that the user names; a wrong name is answered with a right one."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searchlib import Engine


def open_index(path: Path, device: str | None = None) -> Engine:
    """The index in folder `path`.

    Raises NoIndex, saying what is there that looks alike and how to make one.
    """
    from indexes.errors import NoIndex
    from searchlib import Engine

    try:
        return Engine.open(path, device=device)
    except NoIndex as error:
        raise NoIndex(f"{error}; {_way_out(path)}") from None


def _way_out(path: Path) -> str:
    try:
        names = [entry.parent.name for entry in path.parent.glob("*/manifest.json")]
    except OSError:
        names = []
    close = get_close_matches(path.name, names, 1, cutoff=0.8)
    if close:
        return f"did you mean {path.parent / close[0]}?"
    return f"`searchlib index {path} SOURCE` makes one" if not path.exists() else "name another"
