"""Opening an index that the user names; a wrong name is answered with a right one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .options import size

if TYPE_CHECKING:
    from searchlib import Engine
    from searchlib.protocols import Progress
    from searchlib.searching import Searching


def open_index(path: Path, device: str | None = None) -> Searching:
    """The index in folder `path`, to be read: what only writes need is not loaded.

    Raises NoIndex, saying what is there that looks alike and how to make one.
    """
    from searchlib.searching import Searching

    with _way_out_shown(path):
        return Searching.open(path, device=device)


def open_to_write(path: Path, device: str | None = None, memory: str | None = None) -> Engine:
    """The same, to be changed; `memory`: how much indexing may hold, such as 1GB."""
    from searchlib import Engine

    with _way_out_shown(path):
        return Engine.open(path, device=device, **budget(memory))


def problems_of(path: Path, on_progress: Progress) -> tuple[list[str], list[str]]:
    """What is wrong with the index in folder `path`, which need not open for that, and beside."""
    from searchlib.verifying import problems_of

    with _way_out_shown(path):
        return problems_of(path, on_progress)


def check_order(index: Path, source: str) -> None:
    """Names the right order to who gives the documents first, as other tools have them."""
    import shlex

    from searchlib.errors import BadInput

    if source == "-" or Path(source).exists() or (index / "manifest.json").exists():
        return
    if index.is_file() or (index.is_dir() and any(index.iterdir())):
        right = shlex.join(("searchlib", "index", source, str(index)))
        raise BadInput(
            f"no such file or folder: {source}; the index comes first, then the documents: "
            f"`{right}`"
        )


def budget(memory: str | None) -> dict[str, int]:
    """The argument `memory` of an engine; none where the user says nothing."""
    return {} if memory is None else {"memory": size(memory)}


@contextmanager
def _way_out_shown(path: Path) -> Iterator[None]:
    from indexes.errors import NoIndex

    try:
        yield
    except NoIndex as error:
        raise NoIndex(f"{error}; {_way_out(path)}") from None


def _way_out(path: Path) -> str:
    try:
        names = [entry.parent.name for entry in path.parent.glob("*/manifest.json")]
    except OSError:
        names = []
    from difflib import get_close_matches

    close = get_close_matches(path.name, names, 1, cutoff=0.8)
    if close:
        return f"did you mean {path.parent / close[0]}?"
    return f"`searchlib index {path} SOURCE` makes one" if not path.exists() else "name another"
