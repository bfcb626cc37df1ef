from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """load(name): a module of the benchmarks, which are only in the checkout."""
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are only in the checkout")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def beir(tmp_path: Path) -> Callable[[str], Path]:
    """beir(queries): a BEIR folder `tiny` of one document, with this text as its queries."""

    def make(queries: str) -> Path:
        folder = tmp_path / "tiny"
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "moon"}\n')
        (folder / "queries.jsonl").write_text(queries)
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
        return folder

    return make
