"""The commands that train, with tiny models and careless hands."""

from __future__ import annotations

import json
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commandline import ROOT, Result, Run, process, write_jsonl
from tiny_models import WORDS, make_bert

NOUNS = [word for word in WORDS if word.isalpha() and len(word) > 2]
QUICK = ("--steps", "2", "--most", "40")
QRELS = ("--queries", "collection/queries.jsonl", "--qrels", "collection/qrels/test.tsv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models, `sparse` and `dense`."""
    folder = tmp_path_factory.mktemp("made")
    make_bert(folder / "sparse", masked=True)
    make_bert(folder / "dense", masked=False)
    return folder


@pytest.fixture
def models(made: Path) -> tuple[object, ...]:
    """The options that name them."""
    return ("--sparse-model", made / "sparse", "--dense-model", made / "dense")


@pytest.fixture
def corpus(folder: Path) -> Path:
    """Twelve documents of words that the tiny models know."""
    lines = [
        {"id": f"d{i}", "title": " ".join(NOUNS[i : i + 2]).title(),
         "text": f"{' '.join(NOUNS[i : i + 5]).capitalize()}. {' '.join(NOUNS[i + 3 : i + 9])}."}
        for i in range(12)
    ]  # fmt: skip
    return write_jsonl(folder / "corpus.jsonl", *lines)


def refused(result: Result, *words: str) -> None:
    assert (result.code, result.out) == (1, ""), result
    for word in words:
        assert word in result.error


def test_adapting_a_corpus_and_then_an_index(
    cli: Run, folder: Path, corpus: Path, models: tuple[object, ...]
) -> None:
    """Random models gain nothing: it is said, the exit code is 0, and no model is written."""
    result = cli("adapt", corpus, "--out", "m", *models, *QUICK)
    assert result.code == 0, result.err
    (said,) = result.lines
    assert (said["better"], said["model"]) in [(False, None), (True, "m")]
    assert said["judgements"][0]["measure"] == "nDCG@10"
    assert Path("m").exists() is said["better"]
    if not said["better"]:
        assert "m.work" in result.err
        assert (
            cli("adapt", corpus, "--out", "m", *models, *QUICK).lines[0]["judgements"]
            == (said["judgements"])
        )
        assert "begun with" in cli("adapt", corpus, "--out", "m", *models, "--seed", "7").error
    index = Path("m.work/corpus.index") if Path("m.work").exists() else None
    if index is not None:
        Path("q.txt").write_text("\n".join(NOUNS[:5]))
        shown = cli(
            "adapt", index, "--out", "n", *QUICK, "--queries", "q.txt", "--kinds", "cloze,crop",
            "--work", "w", "--format", "table",
        )  # fmt: skip
        assert shown.code == 0, shown.err
        assert "held-out pseudo-queries" in " ".join(shown.out.split())
        queries = Path("w/queries.jsonl").read_text().splitlines()
        assert {json.loads(line)["kind"] for line in queries} == {"cloze", "crop"}
        refused(cli("adapt", index, "--out", "o", *models), "is an index and has its models")


def test_finetuning(cli: Run, folder: Path, corpus: Path, models: tuple[object, ...]) -> None:
    Path("q.tsv").write_text("".join(f"{i}\t{NOUNS[i]}\n" for i in range(12)))
    Path("qrels.tsv").write_text("".join(f"{i} 0 d{i} 1\n" for i in range(12)))
    asked = ("--queries", "q.tsv", "--qrels", "qrels.tsv", "--out", "m", *models, "--steps", "2")
    result = cli("finetune", corpus, *asked)
    assert result.code == 0, result.err
    assert [line["number"] for line in result.lines[0]["judgements"]] == [2, 2]
    refused(cli("finetune", corpus, *QRELS, "--out", "x", *models), "do the ids agree")


def test_the_examples_are_right(cli: Run, folder: Path) -> None:
    """They parse, and name what there is in a folder like the README's."""
    for command in ("adapt", "finetune"):
        for line in cli(command, "--help").out.partition("Example:\n")[2].strip().splitlines():
            words = shlex.split(line)[1:]
            result = cli(*words, "--steps", "-1")
            assert result.code == 1
            assert "illegal steps" in result.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("corpus.jsonn", "--out", "m"), ("corpus.jsonn", "did you mean")),
        (("empty.jsonl", "--out", "m"), ("empty.jsonl",)),
        (("corpus.jsonl", "--out", "taken"), ("taken is there already",)),
        (("corpus.jsonl", "--out", "no/where"), ("is no folder",)),
        (("corpus.jsonl", "--out", "m", "--minutes", "-1"), ("minutes",)),
        (("corpus.jsonl", "--out", "m", "--steps", "0"), ("nothing to do",)),
        (("corpus.jsonl", "--out", "m", "--reading-steps", "-1"), ("illegal reading",)),
        (
            ("corpus.jsonl", "--out", "m", "--kind", "dense", "--reading-steps", "3"),
            ("only a sparse model",),
        ),
        (("corpus.jsonl", "--out", "m", "--most", "0"), ("most",)),
        (("corpus.jsonl", "--out", "m", "--kinds", "titel"), ("titel", "title")),
        (("corpus.jsonl", "--out", "m", "--queries", "absent.txt"), ("absent.txt",)),
        (("corpus.jsonl", "--out", "m", "--queries", "blank.txt"), ("no queries",)),
        (("corpus.jsonl", "--out", "m", "--test", "absent"), ("absent",)),
        (("corpus.jsonl", "--out", "m", "--test", "collection", "--split", "x"), ("split 'x'",)),
        (("corpus.jsonl", "--out", "m", "--sparse-model", "./gone"), ("./gone",)),
        (("corpus.jsonl", "--out", "m", "--teacher", "./gone"), ("./gone",)),
        (("words.index", "--out", "m"), ("no sparse model to train",)),
    ],
)
def test_careless_adapting(
    cli: Run, folder: Path, corpus: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    Path("empty.jsonl").touch()
    Path("blank.txt").write_text("\n")
    Path("taken").mkdir()
    Path("taken/mine").touch()
    if arguments[0] == "words.index":
        assert cli("index", "words.index", corpus, "--no-dense", "--no-sparse").code == 0
    refused(cli("adapt", *arguments), *words)
    assert not Path("m").exists()
    assert [path.name for path in Path("taken").iterdir()] == ["mine"]


def test_a_corpus_that_says_nothing(cli: Run, folder: Path, models: tuple[object, ...]) -> None:
    write_jsonl(Path("blank.jsonl"), {"id": "a", "text": "1"}, {"id": "b", "text": ""})
    refused(cli("adapt", "blank.jsonl", "--out", "m", *models), "no pseudo-queries")


def test_a_seed_that_is_none(cli: Run, folder: Path, corpus: Path) -> None:
    for arguments in (
        ("adapt", corpus), ("finetune", corpus, *QRELS), ("distill", corpus),
        ("distill", corpus, "--vectors", "w.vec"), ("glance", "i.index"), ("blend", "i.index"),
    ):  # fmt: skip
        result = cli(*arguments, "--out", "m", "--seed", "-1")
        assert result.code == 2
        assert "Invalid value for '--seed': -1 is not in the range x>=0" in result.err
    refused(cli("adapt", corpus, "--out", "m", "--seed", 2**64), "illegal seed: 1844", "2**63 - 1")
    assert not (folder / "m").exists()
    assert not (folder / "m.work").exists()


@pytest.mark.parametrize("name", ["queries", "qrels"])
def test_careless_finetuning(cli: Run, folder: Path, corpus: Path, name: str) -> None:
    options = {"queries": QRELS[1], "qrels": QRELS[3], name: "absent.tsv"}
    asked = [word for key, value in options.items() for word in (f"--{key}", value)]
    refused(cli("finetune", corpus, *asked, "--out", "m"), "absent.tsv")


def test_a_full_disk(folder: Path, corpus: Path, models: tuple[object, ...]) -> None:
    """A file cannot grow beyond 20 kB: one line, and no half of a model."""

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = process("adapt", corpus, "--out", "m", *models, *QUICK, cwd=folder, before=little_room)
    assert result.code == 1
    assert "Traceback" not in result.err
    assert not (folder / "m").exists()
    assert not list(folder.glob(".m-*"))


def test_ctrl_c_is_one_line_and_the_command_goes_on(
    folder: Path, corpus: Path, models: tuple[object, ...]
) -> None:
    command = [sys.executable, "-m", "cli", "adapt", str(corpus), "--out", "m"]
    command += [*map(str, models), "--most", "40", "--steps", "100000"]
    running = subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        # subtle: what a shell starts in the background ignores SIGINT, and so do its heirs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    log = folder / "m.work" / "log.jsonl"
    while running.poll() is None and not (log.exists() and log.stat().st_size > 1000):
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate()
    assert running.returncode == 130, told
    (line,) = [line for line in told.decode().splitlines() if line.startswith("searchlib")]
    assert "m.work" in line
    assert "Traceback" not in told.decode()
    assert not (folder / "m").exists()
