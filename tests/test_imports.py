"""What is imported follows what is asked: starting up costs nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch", "transformers", "tokenizers", "huggingface_hub", "faiss", "scipy", "numba",
    "sqlite_utils", "pyarrow", "ir_measures", "bs4", "pypdf", "rich",
)  # fmt: skip


WORDS_NEED_NOT = (  # a query of words: neither models, nor fields of metadata, nor writing
    "searchlib.encoders.models", "searchlib.encoders.lookup", "searchlib.encoders.lean",
    "searchlib.engine", "searchlib.indexing", "searchlib.expansion", "searchlib.browsing",
    "searchlib.cursors", "searchlib.formats", "searchlib.evaluation",
    "indexes.filters", "indexes.filter_sql", "indexes.filter_columns", "indexes.columns",
    "indexes.ordering", "indexes.readback", "indexes.soundness", "indexes.store_writing",
    "indexes.vectors", "indexes.pq", "indexes.writer", "indexes.merge",
    "numpy.ma", "logging", "zipfile", "tempfile",
)  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules loaded after `code` ran in a fresh Python."""
    ask = "\nimport sys; print('loaded:', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code + ask], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


def loaded_by(code: str) -> set[str]:
    """The same, by their top-level names."""
    return {name.partition(".")[0] for name in modules_after(code)}


def command(*arguments: str) -> str:
    """Code that runs a command line, which must succeed."""
    return f"""
from cli.app import main
try:
    main({list(arguments)!r})
except SystemExit as stop:
    assert stop.code == 0
"""


def test_import_searchlib_loads_nothing_heavy() -> None:
    loaded = loaded_by("import searchlib, indexes")
    assert "searchlib" in loaded
    assert not loaded & {*HEAVY, "numpy", "typer"}


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by(command("--help")) & {*HEAVY, "numpy"} - loaded_by("import typer")


def test_only_the_command_that_is_called_is_loaded() -> None:
    loaded = modules_after(command("search", "--help"))
    assert {name for name in loaded if name.startswith("cli.")} == {
        "cli.app", "cli.commands", "cli.errors", "cli.filtering", "cli.likely", "cli.opening",
        "cli.options", "cli.output", "cli.pages", "cli.refining",
        "cli.respelling", "cli.search", "cli.signals",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Engine", "Settings", "Document", "Hit", "expand"])
def test_every_public_name_resolves(name: str) -> None:
    assert "searchlib" in loaded_by(f"from searchlib import {name}")


def test_an_engine_alone_loads_no_model_library() -> None:
    assert not loaded_by("from searchlib import Engine") & {"torch", "transformers", "faiss"}


def test_a_bm25_query_loads_no_model_library(tmp_path: Path) -> None:
    index = str(tmp_path / "small.index")
    made = f"""
from searchlib import Document, Engine, Settings
settings = Settings(dense_model=None, sparse_model=None)
with Engine.create({index!r}, settings) as engine:
    engine.add([Document("a", "sunlight feeds the leaves"), Document("b", "rain falls")])
"""
    loaded_by(made)
    asked = f"""
from searchlib import Engine
with Engine.open({index!r}) as engine:
    assert [hit.id for hit in engine.search("leaves", retriever="bm25")] == ["a"]
"""
    assert not loaded_by(asked) & (set(HEAVY) - {"rich"})
    loaded = modules_after(command("search", index, "leaves", "-r", "bm25"))
    loaded -= modules_after("import numpy, typer")  # what these want, in some versions, is theirs
    assert "searchlib.searching" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    assert not loaded & set(WORDS_NEED_NOT)
