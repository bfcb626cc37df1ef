"""The README's examples, run from top to bottom in an empty folder, print what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from searchlib.cli.commands import MODULES

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
NUMBER = re.compile(r"\d+\.\d+|\d+ s\b")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, content) of each fenced block."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(console: str) -> Iterator[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def alike(printed: str, promised: str) -> bool:
    """Equal but for spaces at line ends and the last digits of numbers.

    >>> alike("score 2.1409 ", "score 2.1410"), alike("score 2.1409", "score 2.2")
    (True, False)
    """
    lines = [[line.rstrip() for line in text.strip().splitlines()] for text in (printed, promised)]
    if [NUMBER.sub("#", line) for line in lines[0]] != [NUMBER.sub("#", line) for line in lines[1]]:
        return False
    numbers = [re.findall(r"\d+\.\d+", "\n".join(part)) for part in lines]
    return all(abs(float(a) - float(b)) < 0.002 for a, b in zip(*numbers, strict=True))


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """With `searchlib` on the path; skips where the default models cannot be had."""
    from searchlib.encoders.models import WHEELS, resolve
    from searchlib.errors import ModelNotFound

    try:
        for name in WHEELS:
            resolve(name)
    except ModelNotFound as error:
        pytest.skip(f"the README uses the default models: {error}")
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if shutil.which("searchlib", path=paths[0]) is None:
        pytest.skip("searchlib is not installed; run: pip install -e .")
    return {**os.environ, "PATH": os.pathsep.join(paths), "COLUMNS": "80", "PYTHONUTF8": "1"}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_every_example_does_what_the_readme_says(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    printed, ran = "", 0
    for language, content in blocks(README.read_text(encoding="utf-8")):
        if language == "sh" and "pip install" not in content:
            jq = shutil.which("jq") is not None
            script = content if jq else content.replace("| jq -r .id", "")
            run(["bash", "-euc", script], tmp_path, environment)
        elif language == "console":
            for command, promised in commands(content):
                shown = run(["bash", "-euc", command + " --format table"], tmp_path, environment)
                assert alike(shown, promised), shown
        elif language == "python":
            printed = run([sys.executable, "-c", content], tmp_path, environment)
        elif language == "text":
            assert alike(printed, content), printed
        else:
            continue
        ran += 1
    assert ran >= 7


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for name in MODULES:
        assert f"`searchlib {name}" in text


def test_every_file_that_the_readme_names_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"\]\((?!http)([^)]+)\)", text))
    named |= set(re.findall(r"benchmarks/\w+\.py", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# --- the figures of README.md and ARCHITECTURE.md

RESULTS = ROOT / "benchmarks" / "results" / "effectiveness.json"
COLLECTIONS = ("scifact", "cranfield", "vaswani_npl", "medline1033", "cisi", "squad_dev",
               "cosqa_dev", "covidqa_long")  # fmt: skip
ROWS = {"reciprocal rank fusion of three": "RRF bm25 + sparse + dense"}


def measured(retriever: str, collections: Sequence[str] = COLLECTIONS) -> float:
    """Mean nDCG@10 of the collections, as the committed run of `effectiveness.py` has it."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["results"]
    return sum(results[c][retriever]["nDCG@10"] for c in collections) / len(collections)


def test_the_table_is_that_of_the_committed_run() -> None:
    text = README.read_text(encoding="utf-8")
    header = f"| | {' | '.join(COLLECTIONS)} | mean |\n"
    rows = text.partition(header)[2].partition("\n\n")[0].splitlines()[1:]
    for row in rows:
        name, *figures = (cell.strip(" *") for cell in row.strip("|").split("|"))
        name = re.sub(r"\W*\(.*\)", "", name)
        retriever = ROWS.get(name, name)
        expected = [measured(retriever, [c]) for c in COLLECTIONS] + [measured(retriever)]
        assert figures == [f"{figure:.3f}" for figure in expected], row
    assert len(rows) == 9


def test_prose_says_what_the_table_says() -> None:
    """The main figures only; others name the run that they are of."""
    mean = {name: f"{measured(name):.3f}"[1:] for name in
            ("bm25", "sparse", "lookup", "dense", "instant", "hybrid")}  # fmt: skip
    seven = {name: f"{measured(name, COLLECTIONS[:7]):.3f}"[1:] for name in ("bm25", "sparse")}
    readme = README.read_text(encoding="utf-8")
    assert f"({mean['instant']} of {mean['hybrid']}, BM25 {mean['bm25']}; see Numbers)" in readme
    assert f"on the first seven (BM25 {seven['bm25']}, here {seven['sparse']})" in readme
    assert f"(dense {mean['dense']}), lookup {mean['lookup']}" in readme
    assert f"(sparse {mean['sparse']}), instant" in readme
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert f"where the model itself has {mean['dense']})" in architecture
    assert f"({mean['instant']}, hybrid {mean['hybrid']}; fitted" in architecture
    assert f"-> {seven['sparse']}, BM25 {seven['bm25']} (`benchmarks/" in architecture
