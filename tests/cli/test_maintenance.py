"""`searchlib merge` and `searchlib vacuum`: what they say, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import WORDS_ONLY, Run, write_jsonl

from indexes import policy, writer
from searchlib import Engine
from searchlib.verifying import problems_of


@pytest.fixture
def several(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 documents in two segments, one of them deleted."""
    with monkeypatch.context() as patch:
        patch.setattr(policy, "TIDY", 0)
        for part in range(2):
            notes = [{"id": f"n{part}-{n}", "text": f"water and light {n}"} for n in range(20)]
            options = WORDS_ONLY if part == 0 else ()
            cli("index", "s.index", write_jsonl(folder / f"{part}.jsonl", *notes), *options)
        cli("delete", "s.index", "n0-3")
    return folder / "s.index"


def bytes_of(index: Path) -> int:
    return sum(file.stat().st_size for file in index.iterdir())


def test_merge_says_what_became_of_it(cli: Run, several: Path) -> None:
    before = cli("search", several, "water 7", "-k", "50").lines
    (report,) = cli("merge", several, "--memory", "1GB").lines
    assert (report["segments_before"], report["segments_after"]) == (2, 1)
    assert (report["deleted_before"], report["deleted_after"]) == (1, 0)
    assert report["bytes_after"] == bytes_of(several) == cli("info", several).lines[0]["bytes"]
    assert report["freed"] == report["bytes_before"] - report["bytes_after"] > 0
    after = cli("search", several, "water 7", "-k", "50").lines
    assert {hit["id"]: hit["score"] for hit in after} == {h["id"]: h["score"] for h in before}
    (again,) = cli("merge", several).lines
    assert (again["segments_before"], again["segments_after"], again["freed"]) == (1, 1, 0)


def test_vacuum_removes_leftovers_and_the_deleted(cli: Run, several: Path) -> None:
    (several / "s000999.store").write_bytes(b"x" * 5000)
    (several / "mine.txt").write_text("not the index's")
    text = cli("vacuum", several, "--format", "table").out
    assert "2 -> 2 segments" in text
    assert "1 deleted documents are gone" in text
    assert "1 leftover files removed" in text
    assert not (several / "s000999.store").exists()
    assert (several / "mine.txt").exists()
    (again,) = cli("vacuum", several).lines
    assert (again["freed"], again["leftover_files"], again["deleted_before"]) == (0, 0, 0)
    assert cli("verify", several).lines == []


def test_what_is_the_users_own_in_the_folder_stays(cli: Run, several: Path, folder: Path) -> None:
    (several / "s000999.bak").mkdir()
    (several / "s000998.store").symlink_to(folder / "0.jsonl")
    names = ["notes.replacing", "s٠٠٠٠٠٩.store", "s12.store", "s000999.a\\b", "my.json.replacing"]
    for name in names:
        (several / name).write_text("mine")
    (several / "manifest.json.replacing").write_text("half a fi")
    more = write_jsonl(folder / "more.jsonl", {"id": "more", "text": "water"})
    assert cli("add", several, more).code == 0
    assert cli("vacuum", several).code == 0
    assert (several / "s000999.bak").is_dir()
    assert (several / "s000998.store").is_symlink()
    assert [(several / name).read_text() for name in names] == ["mine"] * len(names)
    assert not (several / "manifest.json.replacing").exists()


@pytest.mark.parametrize("command", ["merge", "vacuum"])
def test_ctrl_c_leaves_the_index_as_it_was(
    cli: Run, several: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    before = (several / "manifest.json").read_bytes()

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("indexes.merge.merge_stores", interrupted)
        result = cli(command, several)
    assert result.code == 130
    assert "is as it was" in result.error
    assert (several / "manifest.json").read_bytes() == before
    assert cli(command, several).code == 0


@pytest.mark.parametrize("command", ["merge", "vacuum"])
def test_they_refuse_in_one_line(cli: Run, several: Path, command: str) -> None:
    assert "holds no index" in cli(command, "absent.index").error
    with writer.Writer.open(several):
        assert "is being written by process" in cli(command, several).error


def test_one_command_after_the_other_leaves_few_segments(cli: Run, notes: Path) -> None:
    for n in range(6):
        cli("add", notes, write_jsonl(notes.parent / "new.jsonl", {"id": f"n{n}", "text": "sea"}))
    with Engine.open(notes) as engine:
        assert engine.snapshot.n_segments == 1
        assert engine.snapshot.n_documents == 10


def test_verify_names_all_that_is_wrong_though_the_index_cannot_be_opened(
    cli: Run, several: Path
) -> None:
    stores = sorted(several.glob("*.store"))
    lists = sorted(several.glob("*.bm25"))
    stores[0].unlink()
    stores[1].write_bytes(stores[1].read_bytes()[:-1])
    lists[0].write_bytes(bytes(lists[0].stat().st_size))
    result = cli("verify", several)
    assert result.code == 1
    assert result.error.startswith(f"searchlib: {several}: 3 problems")
    problems = [line["problem"] for line in result.lines]
    assert sorted(problem.partition(":")[0] for problem in problems) == sorted(
        map(str, [*stores, lists[0]])
    )
    table = cli("verify", several, "--format", "table")
    assert table.out.splitlines() == problems
    (several / "manifest.json").write_text("{}")
    (line,) = cli("verify", several).lines
    assert "manifest.json" in line["problem"]


def test_verify_reads_what_sync_remembers(cli: Run, folder: Path, several: Path) -> None:
    (folder / "few").mkdir()
    for n in range(200):
        (folder / "few" / f"{n}.txt").write_text(f"water {n}")
    assert cli("sync", several, "few").code == 0
    assert cli("verify", several).lines == []
    database = several / "sync.db"
    sound = database.read_bytes()
    for damaged in (b"no database" * 1000, sound[:-4096], sound[:4096] + bytes(len(sound) - 4096)):
        database.write_bytes(damaged)
        result = cli("verify", several)
        assert result.code == 1
        (line,) = result.lines
        assert line["problem"].startswith(f"{several}/sync.db: damaged (")
        assert "remove it: the next sync then reads everything" in line["problem"]
        assert result.error.endswith(": 1 problem beside the index, which is sound itself")
        assert cli("search", several, "water", "-r", "bm25").lines


def test_verify_tells_how_far_it_is(several: Path) -> None:
    told: list[tuple[int, int]] = []
    assert problems_of(several, lambda done, total, note="": told.append((done, total))) == ([], [])
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total in told} == {len(told)}
