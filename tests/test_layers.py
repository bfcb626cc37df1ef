"""The floors of ARCHITECTURE.md, checked in the source: who may import whom, and what nobody may.

Read with `ast`, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("indexes", "searchlib", "cli", "benchmarks")
MODULES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
LONGEST = 300  # lines of a module

# an open index, which the floors below know nothing of
OPENED = tuple(
    f"searchlib.{module}"
    for module in ("engine", "writing", "searching", "retrieving", "opened", "retrievers", "fused")
)
# who (a folder or file) may not import what (a dotted prefix)
FORBIDDEN = {
    "indexes": ("searchlib", "torch", "transformers", "tokenizers", "typer", "rich", "cli"),
    "searchlib": ("cli", "searchlib.cli", "benchmarks", "typer", "rich"),
    "searchlib/encoders": (*OPENED, "searchlib.evaluation"),
    "searchlib/formats": (*OPENED, "searchlib.encoders"),
    "searchlib/evaluation": (*OPENED, "searchlib.encoders"),
    "cli": ("cli", "torch", "transformers", "faiss", "numpy", "benchmarks"),
}
# floors on top of which only these stand
BELOW = {"searchlib.training": ("searchlib/training", "cli", "benchmarks")}
# what may be imported in one place only
HOMES = {
    "torch": ("searchlib/encoders", "searchlib/training", "benchmarks"),
    "transformers": ("searchlib/encoders", "searchlib/training", "benchmarks"),
    "matplotlib": ("searchlib/training/log.py", "benchmarks"),
    "faiss": ("benchmarks",),
    "ir_measures": ("searchlib/evaluation", "benchmarks"),
    "rapidfuzz": ("searchlib/spelling.py",),
    "Stemmer": ("searchlib/encoders", "benchmarks"),
    "sqlite_utils": ("indexes/store_writing.py",),
    "typer": ("cli",),
    "pyarrow": ("searchlib/formats",),
    "sentence_transformers": ("benchmarks",),
    "bm25s": ("benchmarks",),
}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def within(where: str, home: str) -> bool:
    return where == home or where.startswith(home + "/")


def imports(source: str, where: str) -> Iterator[str]:
    """Absolute dotted names of everything that a module imports; `where` is its path.

    >>> list(imports("from ..errors import BadInput", "searchlib/formats/trec.py"))
    ['searchlib.errors', 'searchlib.errors.BadInput']
    """
    package = where.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            if start == ["cli"]:  # relative, so that it works installed as searchlib.cli too
                continue
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def broken_layers(source: str, where: str) -> list[str]:
    """Every import of a module that the rules above forbid."""
    broken = []
    for name in imports(source, where):
        for floor, names in FORBIDDEN.items():
            if within(where, floor) and any(name == x or name.startswith(x + ".") for x in names):
                broken.append(f"{where} imports {name}")
        for floor, above in BELOW.items():
            if f"{name}.".startswith(f"{floor}.") and not any(within(where, x) for x in above):
                broken.append(f"{where} imports {name}")
        home = HOMES.get(name.split(".")[0])
        if home is not None and not any(within(where, part) for part in home):
            broken.append(f"{where} imports {name}; only {home or 'nobody'} may")
    return broken


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_each_floor_uses_only_what_stands_below_it(path: Path) -> None:
    assert broken_layers(path.read_text(encoding="utf-8"), place(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_modules_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{place(path)} has {lines} lines; split it by concept"


def test_the_list_of_modules_has_every_one() -> None:
    """Those of `cli` are named in its commands.py, those of `benchmarks` by what they print."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.split("```")[1]
    missing = [
        place(path)
        for path in MODULES
        if place(path).split("/")[0] in ("indexes", "searchlib")
        and not path.stem.startswith("__")
        and not re.search(rf"(?<![\w.]){path.stem}(?!\w)", listed)
        and not re.search(rf"(?<!\w){path.name}(?!\w)", text)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("import torch", "indexes/vectors.py"),
        ("from searchlib.types import Hit", "indexes/store.py"),
        ("def f():\n    import faiss", "searchlib/engine.py"),
        ("from ..engine import Engine", "searchlib/encoders/dense.py"),
        ("from .. import retrievers", "searchlib/evaluation/runs.py"),
        ("from .cli import app", "searchlib/engine.py"),
        ("import cli.app", "cli/search.py"),
        ("from .training.pairs import make_queries", "searchlib/engine.py"),
        ("from ..training import pairs", "searchlib/evaluation/runs.py"),
    ],
)
def test_a_forbidden_import_is_noticed(source: str, where: str) -> None:
    assert broken_layers(source, where)


def test_there_are_modules_to_check() -> None:
    assert {place(path).split("/")[0] for path in MODULES} == set(FLOORS)
