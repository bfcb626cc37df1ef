"""The engine room's benchmark: equal answers, fair turns, rows that can be read, clear refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")
Load = Callable[[str], ModuleType]
TEXTS = [
    f"{colour} {animal} {verb} the {place}"
    for colour in ("red", "blue", "old")
    for animal in ("fox", "bear", "owl", "fox and owl")
    for verb in ("sees", "leaves")
    for place in ("river", "town", "river town")
]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba's kernels as plain Python: compiling them takes a minute."""
    config = pytest.importorskip("numba").config
    for name in [name for name in sys.modules if name.split(".")[0] in ("splade_index", "bm25s")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(config, "DISABLE_JIT", True)


@pytest.fixture(scope="module")
def vectors() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    made = []
    for rows in (400, 12):
        dense = np.where(rng.random((rows, 60)) < 0.2, rng.random((rows, 60)) + 0.1, 0)
        dense[:, 0] += 0.5
        made.append(sparse.csr_matrix(dense.astype(np.float16).astype(np.float32)))
    return made[0], made[1]


@pytest.fixture
def files(vectors: tuple[Any, Any], tmp_path: Path) -> list[str]:
    """Options that give the material as files."""
    for name, rows in zip(("documents", "queries"), vectors, strict=True):
        sparse.save_npz(tmp_path / f"{name}.npz", rows)
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS))
    (tmp_path / "queries.txt").write_text("red fox\nold owl town\nriver bear\n")
    names = {"vectors": "documents.npz", "query-vectors": "queries.npz", "lines": "lines.txt"}
    names["queries"] = "queries.txt"
    options = [part for option, name in names.items() for part in (f"--{option}", tmp_path / name)]
    return [*map(str, options), "--cache", str(tmp_path / "cache"), "--folder", str(tmp_path)]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def run(load: Load, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["engine.py", *options])
    load("engine").main()


def without_peers(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sparse_peers", "lexical_peers", "ingest"):
        monkeypatch.setattr(load(name), "installed", lambda module, package: False)


def test_recall_counts_equal_scores_as_right(load: Load) -> None:
    """Scores 3, 2, 2, 1: of the best two, either row of score 2 is right, the row of 1 is not."""
    documents = sparse.csr_matrix(np.array([[3.0], [2.0], [2.0], [1.0], [0.0]], np.float32))
    query = sparse.csr_matrix(np.array([[1.0]], np.float32))
    oracle = load("oracle").Oracle(documents.T.tocsr(), query)
    answers = {"a": [0, 1], "b": [2, 0], "c": [0, 3], "d": [0, 0], "e": []}
    found = oracle.recall({name: np.array(rows, int) for name, rows in answers.items()}, 0, 2)
    assert found == {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.5, "e": 0.0}
    assert oracle.recall({"all": np.arange(4)}, 0, 10) == {"all": 1.0}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("peer", ["scipy", "splade_index", "bmp", "seismic"])
def test_every_sparse_system_finds_the_same(
    load: Load,
    vectors: tuple[Any, Any],
    tmp_path: Path,
    peer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(peer)
    peers = load("sparse_peers")
    monkeypatch.setattr(peers, "compiled_once", lambda *kernels: None)
    monkeypatch.setattr(peers, "installed", lambda module, package: module in (peer, "numba"))
    documents, queries = vectors
    systems = list(peers.peers(tmp_path / "index", documents, queries))
    system = systems[-1]
    mine = load("engine_room").ours(tmp_path / "ours.index", documents, queries)
    oracle = load("oracle").Oracle(systems[0].postings, queries)
    if peer == "seismic":
        system.cut = (60, 0.1)
    recalls = []
    for i in range(queries.shape[0]):
        answers = {"mine": mine.rows(mine.ask(i, 10)), "peer": system.rows(system.ask(i, 10))}
        recalls.append(oracle.recall(answers, i, 10))
    assert all(recall["mine"] == 1 for recall in recalls)
    least = {"bmp": 0.9, "seismic": 0.9}.get(peer, 1.0)  # 8-bit weights; approximate
    assert np.mean([recall["peer"] for recall in recalls]) >= least
    for threads in (1, 2):
        mine.batch(10, threads)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("peer", ["tantivy", "bm25s"])
def test_every_lexical_system_ranks_the_same(
    load: Load, tmp_path: Path, peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(peer)
    peers = load("lexical_peers")
    monkeypatch.setattr(peers, "compiled_once", lambda *kernels: None)
    monkeypatch.setattr(peers, "installed", lambda module, package: module in (peer, "numba"))
    terms = peers.Terms.of(TEXTS, ["red fox", "old owl town town", "the", "river bear absent"])
    assert len(terms.queries) == 3  # "the" has no term
    oracle = load("oracle").Oracle(*peers.impacts(terms))
    [system] = peers.peers(tmp_path, terms)
    mine = peers.ours(tmp_path / "ours.index", terms)
    for i in range(3):
        answers = {"mine": mine.rows(mine.ask(i, 10)), "peer": system.rows(system.ask(i, 10))}
        assert oracle.recall(answers, i, 10) == {"mine": 1.0, "peer": 1.0}


def test_piped_rows_name_system_task_size_metric_value_and_target(
    load: Load,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without_peers(load, monkeypatch)
    run(load, monkeypatch, "--tasks", "sparse", "growth", "bm25", "--sizes", "600", *files)
    rows = lines(capsys)
    assert all({"system", "task", "size", "metric", "value"} <= set(row) for row in rows)
    mine = [row for row in rows if row["system"] == "searchlib"]
    recalls = [row["value"] for row in mine if row["metric"] == "recall"]
    assert len(recalls) >= 9
    assert set(recalls) == {1.0}
    assert {"p50_ms", "p95_ms", "qps", "docs/s/core", "bytes/posting"} <= {
        r["metric"] for r in mine
    }
    [ratio] = [
        row
        for row in mine
        if (row["task"], row["metric"]) == ("sparse, 40 terms, k=10", "x best exact peer")
    ]
    p50 = {
        row["system"]: row["value"]
        for row in rows
        if row["task"] == ratio["task"] and row["metric"] == "p50_ms"
    }
    assert ratio["value"] == pytest.approx(p50["scipy"] / p50["searchlib"])
    assert (ratio["target"], ratio["met"]) == (">= 2", ratio["value"] >= 2)
    assert any(row["task"].startswith("sparse, 200 terms") for row in rows)
    assert any("growth" in row["task"] and row["size"] == 600 for row in rows)


@pytest.mark.parametrize(
    "options",
    [
        ["--tasks", "nothing"],
        ["--sizes", "many"],
        ["--sizes", "3"],
        ["--rounds", "0"],
        ["--without", "nobody"],
        ["--vectors", "absent.npz"],
        ["--data", "absent"],
        ["--unknown"],
    ],
)
def test_a_bad_option_is_one_line_and_code_1(
    load: Load,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(load, monkeypatch, *options)
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")


def test_an_absent_peer_is_one_line(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    assert not load("rounds").installed("no_such_module", "no-such-package")
    assert capsys.readouterr().err.count("\n") == 1
    assert load("rounds").installed("json", "json")


def test_systems_take_turns_and_a_query_counts_by_its_median(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = load("rounds")
    clock, asked = [0.0], []
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def ask(name: str, i: int) -> None:
        asked.append((name, i))
        late = 100.0 if len(asked) == 130 else 0.0  # the machine did something else
        clock[0] += (1.0 if name == "a" else 2.0) + i / 10 + late

    systems = {name: lambda i, name=name: ask(name, i) for name in ("a", "b")}
    times = rounds.query_times(systems, 30, 3)
    assert times["a"] == pytest.approx(1 + np.arange(30) / 10)
    assert times["b"] == pytest.approx(2 + np.arange(30) / 10)
    assert len(asked) == 2 * 30 * 4
    assert [name for name, _ in asked[:60]] == ["a"] * 25 + ["b"] * 25 + ["b"] * 5 + ["a"] * 5


def test_a_target_is_met_or_missed(load: Load) -> None:
    report = load("report")
    result = report.Result("searchlib", "t", 1, "x peer", 2.0)
    assert report.judged(result, ">= 2").met
    assert not report.judged(result, ">= 2.1").met
    assert report.judged(result, "<= 4").met
    assert "target" not in result.to_json()
    assert report.judged(result, "<= 1").to_json()["met"] is False


def test_opening_is_measured_in_a_process_of_its_own(
    load: Load, vectors: tuple[Any, Any], tmp_path: Path
) -> None:
    room, opening = load("engine_room"), load("opening")
    made = room.ours(tmp_path / "ours.index", *vectors)
    queries = [query.row(0) for query in made.queries]
    found = opening.in_a_process(tmp_path / "ours.index", queries, "sparse")
    assert found["open"] > 0
    assert found["index"] == made.nbytes
    with pytest.raises(RuntimeError, match="failed"):
        opening.in_a_process(tmp_path / "absent.index", queries, "sparse")


def test_scale_tells_of_every_size_and_retriever(
    load: Load,
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    options = ["--sizes", "450", "150", "--rounds", "1", "--out", str(tmp_path / "out"), *files]
    monkeypatch.setattr(sys, "argv", ["scale.py", *options])
    load("scale").main()
    rows = lines(capsys)
    assert {row["size"] for row in rows} == {150, 450}
    for name in ("bm25", "sparse", "dense", "hybrid"):
        metrics = {row["metric"] for row in rows if row["system"] == f"searchlib {name}"}
        assert metrics == {"p50_ms", "p95_ms", "p99_ms"}
    sizes = {row["size"]: row["value"] for row in rows if row["metric"] == "index MB"}
    assert sizes[450] > 1.5 * sizes[150]
    written = json.loads((tmp_path / "out" / "scale.json").read_text())
    assert written["results"] == rows
    assert (tmp_path / "out" / "scale.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("script", ["engine", "scale"])
def test_help_ends_with_an_example(
    load: Load, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        load(script).main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--quick" in shown
    assert shown.rstrip().splitlines()[-1].startswith(f"  python benchmarks/{script}.py")
