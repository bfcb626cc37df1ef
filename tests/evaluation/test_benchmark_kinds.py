"""The benchmark of kinds of queries: its data are whole, and it says what stands first."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def kinds(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("kinds")


def run(kinds: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/kinds.py", *options])
    kinds.main()


def test_every_file_of_the_data_is_a_corpus_or_its_queries(kinds: ModuleType) -> None:
    expected = {f"{name}.{part}.jsonl" for name in kinds.CORPORA for part in ("corpus", "queries")}
    assert {path.name for path in kinds.DATA.iterdir()} == expected | {"README.md"}


def test_ids_are_unique_and_every_answer_exists(kinds: ModuleType) -> None:
    asked = [query for corpus in kinds.CORPORA for query in kinds.queries(corpus)]
    assert len({query.id for query in asked}) == len(asked) == 393
    assert {query.kind for query in asked} == set(kinds.KINDS)
    for corpus in kinds.CORPORA:
        ids = [document.id for document in kinds.documents(corpus)]
        assert len(set(ids)) == len(ids)
        for query in kinds.queries(corpus):
            assert query.text.strip()
            assert query.relevant, query.id
            assert set(query.relevant) <= set(ids), query.id


def test_the_readme_of_the_data_counts_right(kinds: ModuleType) -> None:
    text = (kinds.DATA / "README.md").read_text(encoding="utf-8")
    sizes = [len(kinds.documents(corpus)) for corpus in kinds.CORPORA]
    assert f"{min(sizes)} to {max(sizes)} documents" in text
    assert "393 queries" in text
    asked = {query.text for corpus in kinds.CORPORA for query in kinds.queries(corpus)}
    doubtful = re.findall(r'"([^"]+)"', text.split("debatable")[1])
    assert doubtful
    assert set(doubtful) <= asked


def test_mail_addresses_and_telephone_numbers_are_nobodys(kinds: ModuleType) -> None:
    for path in kinds.DATA.glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\w@([\w.-]+\w)", text)) <= {"example.com"}
        assert set(re.findall(r"(?:\+|00)49 30 (\d+)", text)) <= {"23125082"}  # kept for films


def test_a_quick_run_prints_a_row_a_kind_and_its_failures(
    kinds: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(kinds, monkeypatch, "--quick", "--retrievers", "bm25", "--failures")
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    asked = kinds.queries("handbook")
    assert {row["system"] for row in rows} == {"bm25"}
    assert {row["task"] for row in rows} == {query.kind for query in asked} | {"all kinds"}
    assert {row["metric"] for row in rows} == {"success@1", "MRR@10"}
    assert all(0 <= row["value"] <= 1 for row in rows)
    first, reciprocal = (row for row in rows if row["task"] == "all kinds")
    assert first["size"] == len(asked)
    assert first["value"] < reciprocal["value"] < 1
    failed = [line for line in err.splitlines() if line.startswith("bm25, ")]
    assert len(failed) == round((1 - first["value"]) * len(asked))
    (line,) = (line for line in failed if "'home office'" in line)
    assert line.endswith("remote: rank 7")


def test_figures_are_of_the_order_that_a_user_sees(kinds: ModuleType) -> None:
    one = kinds.Query("q1", "id", "x", ("a",))
    two = kinds.Query("q2", "id", "y", ("b", "c"))
    three = kinds.Query("q3", "typo", "z", ("d",))
    answers = [
        kinds.Answer("shop", one, "bm25", ("a", "b")),
        kinds.Answer("shop", two, "bm25", ("a", "c", "b")),
        kinds.Answer("shop", three, "bm25", ()),
    ]
    assert [answer.rank for answer in answers] == [1, 2, None]
    values = {(r.task, r.metric): (r.size, r.value) for r in kinds.results(answers)}
    assert values == {
        ("id", "success@1"): (2, 0.5),
        ("id", "MRR@10"): (2, 0.75),
        ("typo", "success@1"): (1, 0.0),
        ("typo", "MRR@10"): (1, 0.0),
        ("all kinds", "success@1"): (3, pytest.approx(1 / 3)),
        ("all kinds", "MRR@10"): (3, 0.5),
    }
    assert kinds.failure(answers[1]) == "bm25, id, shop: 'y': first is a; b or c: rank 2"
    assert kinds.failure(answers[2]) == "bm25, typo, shop: 'z': first is nothing; d: not among 10"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["shops"], "error: no corpus is called 'shops'; there are handbook, code, "),
        (["--retrievers", "bm52"], "error: no retriever is called 'bm52'; there are bm25, "),
    ],
)
def test_an_unknown_name_is_one_line(
    kinds: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        run(kinds, monkeypatch, *options)
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) == 1
