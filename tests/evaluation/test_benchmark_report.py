"""What benchmarks print and write: lines that can be read back, tables that add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from searchlib.errors import BadQuery, NotFound
from searchlib.evaluation import Results

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Load = Callable[[str], ModuleType]


@pytest.fixture
def report(load: Load) -> ModuleType:
    return load("report")


def test_piped_results_are_json_lines(
    report: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        report.Result("bm25", "tiny", 3, "nDCG@10", 0.5),
        report.Result("é", "t", None, "s", 1),
    ]
    assert report.print_results(iter(results)) == results
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"system": "bm25", "task": "tiny", "size": 3, "metric": "nDCG@10", "value": 0.5},
        {"system": "é", "task": "t", "size": None, "metric": "s", "value": 1},
    ]


def test_on_a_terminal_there_is_one_table(
    report: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    report.print_results(
        [
            report.Result("bm25", "tiny", 3000, "nDCG@10", 0.5),
            report.Result("bm25", "tiny", 3000, "docs/s", 12345.6),
            report.Result("dense", "tiny", 3000, "nDCG@10", 0.25),
        ]
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if "tiny" in line]
    assert len(rows) == 2
    assert all(text in rows[0] for text in ("3,000", "0.500", "12,346"))


def test_provenance_says_how_to_do_it_again(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / "memory.py"), "--only", "a b"])
    found = report.provenance()
    assert found["command"] == "python benchmarks/memory.py --only 'a b'"
    assert found["versions"]["python"].startswith("3.")
    assert found["machine"]["cores"] >= 1
    assert str(BENCHMARKS.parent) not in json.dumps(found)


def results(values: dict[str, float]) -> Results:
    return Results({"AP": sum(values.values()) / len(values)}, {"AP": values}, len(values))


def test_tables_and_comparisons(load: Load, tmp_path: Path) -> None:
    tables = load("effectiveness_tables")
    measured = tables.Measured()
    measured.results = {
        "x": {"bm25": results({"1": 0.2, "2": 0.4}), "hybrid": results({"1": 0.6, "2": 0.4})},
        "y": {"bm25": results({"1": 0.5}), "hybrid": results({"1": 0.5})},
    }
    compared = tables.compare_with_default(measured, "AP")
    assert list(compared) == ["bm25"]
    assert compared["bm25"].difference == pytest.approx(0.1)
    assert (compared["bm25"].wins, compared["bm25"].ties) == (1, 2)
    tables.write(measured, compared, {"k1": 0.9}, tmp_path)
    text = (tmp_path / "effectiveness.md").read_text()
    assert "| AP | x | y | mean |" in text
    assert "| bm25 | 0.300 | **0.500** | 0.400 |" in text
    assert "| hybrid | **0.500** | **0.500** | **0.500** |" in text
    values = json.loads((tmp_path / "effectiveness.json").read_text())
    assert values["results"]["x"]["hybrid"] == {"queries": 2, "AP": 0.5}
    assert values["provenance"]["settings"] == {"k1": 0.9}


@pytest.mark.parametrize("script", ["effectiveness.py", "memory.py", "cold_start.py", "answers.py"])
def test_help_ends_with_an_example(load: Load, script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)},
    )
    assert "--quick" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith(f"  python benchmarks/{script}")


def test_collections_are_chosen_without_options_that_few_benchmarks_have(
    load: Load, beir: Callable[[str], Path]
) -> None:
    folder = beir('{"_id": "q", "text": "moon"}\n')
    chosen_collections = load("effectiveness").chosen_collections
    options = {"collections": [folder], "data": None, "quick": False}
    assert [one.name for one in chosen_collections(Namespace(**options))] == ["tiny"]
    with pytest.raises(BadQuery, match="illegal --queries: 0"):
        chosen_collections(Namespace(**options, queries=0))
    with pytest.raises(NotFound, match="dev"):
        chosen_collections(Namespace(**options), "dev")


def test_synthetic_documents_are_the_same_every_time(load: Load) -> None:
    memory = load("memory")
    first, again = list(memory.documents(3)), list(memory.documents(3))
    assert first == again
    assert len({document.text for document in first}) == 3
    assert memory.peak_bytes() > 1_000_000
