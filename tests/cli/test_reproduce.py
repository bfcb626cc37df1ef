"""`eval --record` keeps figures with the index; `verify --reproduce` derives them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import WORDS_ONLY, Run, write_jsonl

from searchlib.evaluation import records
from searchlib.evaluation.records import FILE, read_records


@pytest.fixture
def measured(cli: Run, notes: Path) -> Path:
    """The index with two figures of two retrievers each."""
    done = cli("eval", notes, "collection", "--measures", "nDCG@10,AP", "-r", "all", "--record")
    assert done.code == 0, done.err
    assert {line["measure"] for line in done.lines} == {"nDCG@10", "AP"}
    return notes


def reproduced(cli: Run, index: Path) -> list[dict[str, object]]:
    result = cli("verify", index, "--reproduce")
    assert result.code == 0, result.err
    return result.lines


def test_figures_are_derived_again(cli: Run, measured: Path) -> None:
    lines = reproduced(cli, measured)
    assert len(lines) == 6
    for line, record in zip(lines, read_records(measured), strict=True):
        assert line["recorded"] == record.value == line["now"]
        assert line["changes"] == []
    text = cli("verify", measured, "--reproduce", "--format", "table").out
    assert f"bm25 AP: {lines[1]['now']:.4f}, as recorded\n" in text
    assert cli("verify", measured).lines == []


def test_from_any_folder_and_of_a_later_measuring(
    cli: Run, measured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(reproduced(cli, measured)) == 6
    collection = tmp_path / "collection"
    cli("eval", measured, collection, "-r", "bm25", "--record", "--measures", "AP,P@1")
    assert len(reproduced(cli, measured)) == 7  # AP of bm25 was replaced
    files = ("--queries", collection / "queries.jsonl", "--qrels", collection / "qrels/test.tsv")
    cli("eval", measured, *files, "-r", "bm25", "--record", "--where", "year > 2000")
    assert len(reproduced(cli, measured)) == 9


def test_it_outlives_merging_vacuuming_and_a_change_that_changes_nothing(
    cli: Run, measured: Path
) -> None:
    cli("update", measured, "note-3", "--set", "year=2011")
    cli("merge", measured)
    (measured / (FILE + ".replacing")).write_text("half a fi")  # of a process that died
    assert cli("vacuum", measured).lines[0]["leftover_files"] == 1
    assert not (measured / (FILE + ".replacing")).exists()
    for line in reproduced(cli, measured):
        assert line["now"] == line["recorded"]
        assert "the index was changed since (generation 1 then, 3 now)" in line["changes"]


def test_another_value_is_named_with_what_changed(cli: Run, measured: Path) -> None:
    before = {(r.retriever, r.measure): r.value for r in read_records(measured)}
    cli("delete", measured, "note-1")
    result = cli("verify", measured, "--reproduce")
    assert result.code == 1
    assert "6 of 6 figures not reproduced" in result.error
    for line in result.lines:
        was = before[line["retriever"], line["measure"]]
        assert line["problem"].startswith(
            f"{FILE}: {line['retriever']} {line['measure']} was {was:.4f}, is {line['now']:.4f}; "
            "the index was changed since (generation 1 then, 2 now)"
        )


def test_other_judgements_are_named(cli: Run, measured: Path) -> None:
    qrels = Path("collection/qrels/test.tsv")
    qrels.write_text(qrels.read_text().replace("q2\tnote-2\t1", "q2\tnote-3\t1"))
    result = cli("verify", measured, "--reproduce")
    assert result.code == 1
    assert all("queries or judgements were changed" in line["problem"] for line in result.lines)
    shutil.rmtree("collection")
    result = cli("verify", measured, "--reproduce")
    assert all("cannot be derived again" in line["problem"] for line in result.lines)
    assert result.code == 1


def test_a_value_out_of_tolerance_is_found(cli: Run, measured: Path) -> None:
    """Somebody edited the figure, and its checksum too."""
    body = json.loads((measured / FILE).read_text())
    body["records"][0]["value"] += 2 * records.TOLERANCE
    del body["checksum"]
    body["checksum"] = records._checksum(body)
    (measured / FILE).write_text(json.dumps(body))
    result = cli("verify", measured, "--reproduce")
    assert "1 of 6 figures" in result.error
    assert "nothing is known to have changed" in result.lines[0]["problem"]
    assert cli("verify", measured).code == 0


@pytest.mark.parametrize(
    "bad", [b"", b"{}", b"[" * 100_000, b'{"format": "searchlib measurements", "version": 1}',
            "an edited value"],
    ids=str,
)  # fmt: skip
def test_a_damaged_file_is_named_and_disturbs_nothing_else(
    cli: Run, measured: Path, bad: bytes | str
) -> None:
    good = (measured / FILE).read_bytes()
    if isinstance(bad, str):
        bad = good.replace(b'"queries": 2', b'"queries": 3')
        assert bad != good
    (measured / FILE).write_bytes(bad)
    for command in (("verify",), ("verify", "--reproduce")):
        result = cli(command[0], measured, *command[1:])
        assert result.code == 1
        assert FILE in result.out
    assert FILE in cli("eval", measured, "collection", "--record").error
    assert cli("search", measured, "moon").lines[0]["id"] == "note-3"
    (measured / FILE).unlink()
    assert cli("verify", measured).code == 0


def test_nothing_recorded_and_nothing_to_read_again(cli: Run, notes: Path) -> None:
    assert "--record" in cli("verify", notes, "--reproduce").error
    asked = ("--queries", "-", "--qrels", "collection/qrels/test.tsv")
    assert cli("eval", notes, *asked, "--record").code == 2
    assert cli("eval", notes, *asked, stdin=Path("collection/queries.jsonl").read_bytes()).code == 0


def test_a_crash_while_recording_keeps_the_old_figures(
    cli: Run, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (measured / FILE).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        result = cli("eval", measured, "collection", "--record", "--measures", "P@1")
    assert (result.code, "no space left" in result.error) == (1, True)
    assert (measured / FILE).read_bytes() == before
    assert len(reproduced(cli, measured)) == 6


def test_copies_are_ranked_alike_whatever_is_measured(cli: Run, folder: Path) -> None:
    copies = ({"id": f"d{n:02}", "text": "the moon pulls the sea"} for n in range(30))
    write_jsonl(folder / "copies.jsonl", *copies)
    Path("q.tsv").write_text("q\tmoon\n")
    Path("q.qrels").write_text("q 0 d03 1\nq 0 d29 1\n")
    assert cli("index", "c.index", "copies.jsonl", *WORDS_ONLY).code == 0
    asked = ("c.index", "--queries", "q.tsv", "--qrels", "q.qrels", "--record", "--measures")
    [alone] = cli("eval", *asked, "nDCG@10").lines
    lines = cli("eval", *asked, "R@100,RR@10,nDCG@10").lines
    together = {line["measure"]: line["value"] for line in lines}
    assert together["nDCG@10"] == alone["value"]
    assert together["R@100"] == 1.0
    assert len(reproduced(cli, Path("c.index"))) == 3
    assert cli("run", "c.index", "q.tsv", "-o", "a.run").code == 0
    Path("b.run").write_text(
        cli("search", "c.index", "moon", "-k", "30", "--format", "trec").out.replace("1 Q0", "q Q0")
    )
    judged = ("--qrels", "q.qrels", "--measures", "R@100,RR@10,nDCG@10")
    for line in cli("compare", "a.run", "b.run", *judged).lines:
        assert line["a"] == together[line["measure"]] == line["b"]
