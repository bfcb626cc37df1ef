"""Indexing keeps to --memory, and searching to a little, however large the corpus is.

What is measured is the memory that only the process has, as the system counts it; the index's
mapped files are the system's to take back. A command on one document is what it is compared
with: interpreter, libraries and models, which the promise leaves out.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEAST = 64_000_000  # bytes: the smallest budget there is
WORDS_ONLY = ("--no-dense", "--no-sparse")

Own = Callable[..., int]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    """Runs a command line in the folder of the test; the most bytes that were its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to tell a process's own memory")
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are only in the checkout")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    peaks_of = import_module("memory").peaks_of
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*arguments: object) -> int:
        command = [sys.executable, "-m", "cli", *map(str, arguments)]
        with (tmp_path / "said").open("w") as said:
            peaks = peaks_of(command, cwd=tmp_path, env=environment, stdout=said, stderr=said)
        assert peaks.own > 1_000_000
        return int(peaks.own)

    yield run
    for name in ("report", "memory"):
        sys.modules.pop(name, None)


def write_corpus(path: Path, count: int, words_each: int, vocabulary: list[str]) -> Path:
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(count):
            text = " ".join(rng.choices(vocabulary, k=words_each))
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")
    return path


def test_words(own: Own, tmp_path: Path) -> None:
    """100 MB of text, for which 64 MB may be held: it takes several segments and their merges."""
    rng = random.Random(1)
    vocabulary = [f"{rng.getrandbits(400):x}" for _ in range(20_000)]
    one = write_corpus(tmp_path / "one.jsonl", 1, 100, vocabulary)
    many = write_corpus(tmp_path / "many.jsonl", 10_000, 100, vocabulary)
    assert many.stat().st_size > 1.5 * LEAST
    budget = ("--memory", LEAST)
    alone = own("index", "one.index", one, *WORDS_ONLY, *budget)
    grown = own("index", "many.index", many, *WORDS_ONLY, *budget) - alone
    assert grown < LEAST, f"{grown:,}"
    assert own("merge", "many.index", *budget) - alone < LEAST
    ask = ("search", "-r", "bm25", "-k", "100")
    asked = [own(*ask, f"{name}.index", " ".join(vocabulary[:5])) for name in ("one", "many")]
    assert asked[1] - asked[0] < LEAST / 4


def test_with_models(own: Own, tmp_path: Path, tiny_dense: Path, tiny_sparse: Path) -> None:
    """Four times the documents take hardly more."""
    from tiny_models import WORDS

    words = [word for word in WORDS if word.isalpha()]
    models = ("--dense-model", tiny_dense, "--sparse-model", tiny_sparse, "--passage-tokens", 32)
    taken = [
        own("index", f"{count}.index", write_corpus(tmp_path / "c.jsonl", count, 60, words),
            *models, "--overlap", 4, "--memory", LEAST)
        for count in (1, 200, 800)
    ]  # fmt: skip
    assert taken[2] - taken[0] < LEAST, taken
    assert taken[2] - taken[1] < LEAST / 3, taken
    asked = [own("search", f"{count}.index", "the cat") for count in (1, 800)]
    assert asked[1] - asked[0] < LEAST / 4, asked


@pytest.mark.parametrize(
    "command", [("index", "new.index", "c.jsonl", *WORDS_ONLY), ("add", "c.index", "c.jsonl"),
                ("sync", "c.index", "."), ("merge", "c.index")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_an_impossible_budget_is_refused_in_one_line(
    tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from cli.app import main

    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "c.jsonl", 1, 5, ["salt"])
    with pytest.raises(SystemExit):
        main(["index", "c.index", "c.jsonl", *WORDS_ONLY])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*command, "--memory", "20MB"])
    said = capsys.readouterr().err
    assert stop.value.code == 1
    assert said.splitlines() == [
        "searchlib: illegal memory: 20,000,000 bytes, must be at least 64,000,000 (64 MB)"
    ]
    assert not (tmp_path / "new.index").exists()
