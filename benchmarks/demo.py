"""A search engine over this machine's own documentation, made with `searchlib` from nothing.

The corpus is what every Python has: the docstrings of the standard library, of the built-in
types and of the installed packages. They are read with `ast`; no module is imported or run.
`make demo` runs this; `.demo/` keeps the index for the next time.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import itertools
import json
import subprocess
import sys
import sysconfig
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
MOST = 7000  # documents: enough to be a real corpus, few enough for two cores and five minutes
FEW = 350  # documents for a quick look
MOST_OF_A_PACKAGE = 50  # installed packages share what the standard library leaves
SHORTEST, LONGEST = 40, 700  # characters of a docstring
PASSED_OVER = {
    "test", "tests", "idlelib", "lib2to3", "turtledemo", "pydoc_data", "ensurepip",
    "distutils", "site-packages", "_vendor",
}  # fmt: skip
QUESTIONS = (
    "how do I run something later on another thread",
    "remove whitespace around text",
    "words that are nearly alike",
    "pick a random card from a deck",
    "hide what is typed for a password",
    "average of some numbers",
    "how much free space is left on the disk",
)
RETRIEVERS = ("bm25", "sparse", "dense", "hybrid")


def docstrings() -> Iterator[dict[str, Any]]:
    """Documents of built-ins, standard library and installed packages, at most MOST.

    The order is always the same; so are the documents, on the same installation.
    """
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    seen: set[str] = set()
    corpus = itertools.chain(
        _of_builtins(),
        *(_of_entry(entry, library) for entry in _entries(library)),
        *(
            itertools.islice(_of_entry(entry, packages), MOST_OF_A_PACKAGE)
            for entry in _entries(packages)
        ),
    )
    fresh = (doc for doc in corpus if doc["id"] not in seen and not seen.add(doc["id"]))  # type: ignore[func-returns-value]
    return itertools.islice(fresh, MOST)


def _entries(folder: Path) -> list[Path]:
    """Top-level modules and packages of a folder, by name."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if (entry.suffix == ".py" or entry.is_dir())
        and not entry.name.startswith(("_", "."))
        and entry.name not in PASSED_OVER
    )


def _of_entry(entry: Path, root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]:
        inner = path.relative_to(root).with_suffix("").parts
        name = ".".join(inner[:-1] if inner[-1] == "__init__" else inner)
        if PASSED_OVER.isdisjoint(inner) and not any(p.startswith("_") for p in name.split(".")):
            yield from _of_source(path, name)


def _of_source(path: Path, module: str) -> Iterator[dict[str, Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the odd escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return  # templates and files for other Pythons
    yield from _of_node(tree, module, module)


def _of_node(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
    name: str,
    module: str,
) -> Iterator[dict[str, Any]]:
    kind = {"Module": "module", "ClassDef": "class"}.get(type(node).__name__, "function")
    yield from _document(name, ast.get_docstring(node), kind, module)
    if not isinstance(node, ast.Module | ast.ClassDef):
        return
    for child in node.body:
        if isinstance(
            child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not child.name.startswith("_"):
            yield from _of_node(child, f"{name}.{child.name}", module)


def _of_builtins() -> Iterator[dict[str, Any]]:
    """str.strip and the like have no source file; their docstrings are in this process."""
    for name, thing in sorted(vars(builtins).items()):
        if name.startswith("_") or not callable(thing):
            continue
        is_class = isinstance(thing, type)
        yield from _document(name, thing.__doc__, "class" if is_class else "function", "builtins")
        if is_class and not issubclass(thing, BaseException):
            for part, method in sorted(vars(thing).items()):
                if not part.startswith("_") and isinstance(method, types.MethodDescriptorType):
                    full = f"{name}.{part}"
                    yield from _document(full, method.__doc__, "function", "builtins")


def _document(name: str, doc: str | None, kind: str, module: str) -> Iterator[dict[str, Any]]:
    text = " ".join((doc or "").split())
    if len(text) < SHORTEST:
        return
    if len(text) > LONGEST:
        text = text[:LONGEST].rsplit(" ", 1)[0] + " ..."
    yield {"id": name, "title": name, "text": text, "kind": kind, "module": module}


def make_index(folder: Path, quick: bool) -> Path:
    """The corpus written to `folder` and indexed with the command that a user would type."""
    corpus, index = folder / "docstrings.jsonl", folder / "docstrings.index"
    folder.mkdir(parents=True, exist_ok=True)
    if not index.exists() or not corpus.exists():
        say(f"reading docstrings of Python {sys.version.split()[0]} and of installed packages ...")
        with corpus.open("w", encoding="utf-8") as file:
            every = MOST // FEW if quick else 1
            documents = itertools.islice(docstrings(), 0, None, every)
            file.writelines(json.dumps(document) + "\n" for document in documents)
    say(f"$ searchlib index {_shown(index)} {_shown(corpus)}")
    command = [sys.executable, "-m", "searchlib.cli", "index", str(index), str(corpus)]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)
    return index


def answer(index: Path, format: str) -> None:
    """Every question put to every retriever: tables side by side, or JSON Lines."""
    from searchlib import Engine

    with Engine.open(index) as engine:
        for question in QUESTIONS:
            hits = {name: engine.search(question, 3, retriever=name) for name in RETRIEVERS}
            if format == "table":
                show(question, hits)
                continue
            for name, found in hits.items():
                for hit in found:
                    line = {"question": question, "retriever": name, "rank": hit.rank}
                    print(json.dumps({**line, "id": hit.id, "score": hit.score}), flush=True)


def show(question: str, hits: dict[str, list[Any]]) -> None:
    """One question, a column a retriever, and the first answer's snippet."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=question, title_justify="left", title_style="bold")
    for name in hits:
        table.add_column(name, overflow="fold", ratio=1)
    for rank in range(3):
        table.add_row(*(found[rank].id if rank < len(found) else "" for found in hits.values()))
    console = Console(highlight=False, markup=False)
    console.print(table)
    for hit in hits["hybrid"][:1]:
        console.print(f"  {hit.id}: {hit.snippet.replace('**', '')}\n", style="dim")


def say(line: str) -> None:
    """A line for the user, on stderr."""
    print(line, file=sys.stderr, flush=True)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def main() -> None:
    """Parses the command line and runs the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help=f"where to keep the index [{_shown(FOLDER)}]")
    parser.add_argument("--quick", action="store_true", help=f"{FEW} documents, under a minute")
    parser.add_argument("--format", choices=("table", "json"), help="[table on a terminal]")
    options = parser.parse_args()
    folder = options.folder or (FOLDER / "quick" if options.quick else FOLDER)
    index = make_index(folder, options.quick)
    answer(index, options.format or ("table" if sys.stdout.isatty() else "json"))
    if options.format == "table" or sys.stdout.isatty():
        say(f'Now ask your own:  .venv/bin/searchlib search {_shown(index)} "QUESTION"')


if __name__ == "__main__":
    main()
