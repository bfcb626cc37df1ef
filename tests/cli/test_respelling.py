"""What a command says of a query that is read otherwise than it was typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from searchlib import Engine
from searchlib.cli.respelling import tell_of_readings

WORDS_ONLY = ("--no-sparse", "--no-dense")


@pytest.fixture
def office(tmp_path: Path, cli: Any) -> Path:
    lines = [
        {"id": "a", "text": "Travel expenses are paid back."},
        {"id": "b", "text": "A sabbatical is a long leave."},
    ]
    path = tmp_path / "i.index"
    done = cli("index", path, "-", *WORDS_ONLY, stdin="\n".join(map(json.dumps, lines)))
    assert done.code == 0, done.err
    return path


SAID = "searchlib: no document has 'expences': read as 'expenses' (in double quotes it stays)"


def test_search_says_how_it_reads_a_query(cli: Any, office: Path) -> None:
    done = cli("search", office, "expences")
    assert (done.code, json.loads(done.out)["id"]) == (0, "a")
    assert done.err.strip() == SAID
    assert cli("search", office, "expences", "--cursor", "start").err.strip() == SAID
    assert cli("explain", office, "expences", "a").err.strip() == SAID


def test_a_word_that_is_there_twice_is_told_once(cli: Any, office: Path) -> None:
    assert cli("search", office, "expences, my expences").err.strip() == SAID


def test_every_query_of_several_has_its_own_line(cli: Any, office: Path) -> None:
    done = cli("search", office, "-", stdin="expences\nexpenses\na sabatical\n")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["a", "a", "b"]
    assert [line.split("'")[1] for line in done.err.splitlines()] == ["expences", "sabatical"]


@pytest.mark.parametrize("options", [('"expences"',), ("expences", "-r", "bm25")])
def test_nothing_is_said_where_nothing_is_read_otherwise(
    cli: Any, office: Path, options: tuple[str, ...]
) -> None:
    done = cli("search", office, *options)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_run_and_eval_say_how_many_queries_are_read_otherwise(
    cli: Any, office: Path, tmp_path: Path
) -> None:
    (tmp_path / "q.tsv").write_text("1\ttravel expences\n2\ta sabbatical\n3\tmy expences\n")
    (tmp_path / "r.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n3\ta\t1\n")
    said = (
        "searchlib: queries with words that no document has, read otherwise by hybrid: 2 "
        "('expences' as 'expenses')"
    )
    done = cli("run", office, tmp_path / "q.tsv")
    assert done.code == 0
    assert said in done.err.splitlines()
    judged = ("--queries", tmp_path / "q.tsv", "--qrels", tmp_path / "r.tsv")
    done = cli("eval", office, *judged, "-r", "hybrid,bm25")
    assert done.err.splitlines().count(said) == 1  # of the hybrid
    means = {row["retriever"]: row["value"] for row in map(json.loads, done.out.splitlines())}
    assert means["hybrid"] == 1
    assert means["bm25"] < 1


def test_retrievers_that_read_alike_are_told_in_one_line(
    office: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Engine.open(office) as engine:
        tell_of_readings(engine, ["travel expences"], ["bm25", "hybrid", "dense", "instant"])
        tell_of_readings(engine, ["travel expences"], ["bm25", "dense"])
    assert capsys.readouterr().err.splitlines() == [
        "searchlib: queries with words that no document has, read otherwise by hybrid and instant: "
        "1 ('expences' as 'expenses')"
    ]
