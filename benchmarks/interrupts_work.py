"""The commands that interrupts.py ends early, and what may be there afterwards.

Everything that a command reads is made once, in a folder of templates; each round works on a copy.
The models are the default ones: an end within encoding or training is an end within real ones.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from report import say

from indexes.snapshot import Snapshot
from searchlib import Engine

ROOT = Path(__file__).resolve().parents[1]
WORDS_ONLY = ("--no-dense", "--no-sparse")
MANY, FEW, OLD = 20_000, 200, 160  # documents: of words only, with models, before it is added to
QUERIES = 60


@dataclass(frozen=True)
class Command:
    """A command line, the index among the templates that it works on, and what it may make."""

    name: str
    arguments: tuple[str, ...]
    index: str | None = None  # a copy of it is what the command works on
    made: str | None = None  # the index or the model that it makes

    @property
    def may_delete(self) -> bool:
        return self.name in ("delete", "sync (removes)")


def _asks(name: str, *arguments: str, index: str = "full.index") -> Command:
    return Command(name, (name.split(" ", maxsplit=1)[0], index, *arguments), index)


COMMANDS = (
    Command("index (words)", ("index", "new.index", "many.jsonl", *WORDS_ONLY), None, "new.index"),
    Command("index (models)", ("index", "new.index", "few.jsonl"), None, "new.index"),
    _asks("add (words)", "changed.jsonl", index="words.index"),
    _asks("add (models)", "few.jsonl", index="part.index"),
    _asks("sync (words)", "folder", index="words.index"),
    _asks("sync (models)", "folder", index="part.index"),
    _asks("sync (removes)", "emptied", index="synced.index"),
    _asks("update", "--where", "number >= 0", "--set", "seen=true", index="words.index"),
    _asks("delete", "--where", "number < 9000", index="words.index"),
    _asks("merge", index="words.index"),
    _asks("vacuum", index="words.index"),
    _asks("verify", index="words.index"),
    _asks("reencode", "--sparse-model", "templates/blended"),
    _asks("search", "amo batu"),
    _asks("run", "judged/queries.jsonl", "-k", "100"),
    _asks("eval", "judged", "-r", "all"),
    _asks("tune", "judged"),
    _asks("gaps"),
    Command("blend", ("blend", "full.index", "--out", "made"), "full.index", "made"),
    Command("distill", ("distill", "full.index", "--out", "made"), "full.index", "made"),
    Command(
        "adapt",
        ("adapt", "full.index", "--out", "made", "--most", "60", "--steps", "30"),
        "full.index",
        "made",
    ),
    Command(
        "finetune",
        ("finetune", "full.index", "--queries", "judged/queries.jsonl", "--qrels",
         "judged/qrels/test.tsv", "--out", "made", "--steps", "30"),
        "full.index",
        "made",
    ),
)  # fmt: skip
READ = ("many.jsonl", "few.jsonl", "changed.jsonl", "folder", "emptied", "judged")


def make_templates(place: Path) -> None:
    """Corpora, queries, indexes and a model that the commands start from."""
    say("making what the commands work on")
    rng = random.Random(0)
    words = [a + b for a in ("ba", "co", "du", "fi", "la", "mo", "ne", "ri", "sa", "tu")
             for b in ("nk", "mp", "rd", "st", "ll", "ck", "ne", "ver", "ton", "ly")]  # fmt: skip

    def corpus(name: str, count: int, each: int, more: str = "") -> None:
        with (place / name).open("w") as file:
            for number in range(count):
                text = " ".join([*rng.choices(words, k=each), more, f"w{number % 97}"])
                title = " ".join(rng.choices(words, k=3))
                line = {"id": f"n{number}", "title": title, "text": text, "number": number}
                file.write(json.dumps(line) + "\n")

    corpus("many.jsonl", MANY, 60)
    corpus("changed.jsonl", MANY // 2, 60, "changed")
    corpus("few.jsonl", FEW, 90)
    lines = (place / "few.jsonl").read_text().splitlines(keepends=True)
    for name, kept in (("folder", FEW), ("emptied", OLD // 4)):
        (place / name).mkdir()
        for number, line in enumerate(lines[:kept]):
            (place / name / f"{number}.jsonl").write_text(line)
    (place / "part.jsonl").write_text("".join(lines[:OLD]))
    _judged(place / "judged", lines)
    for name, source in (("full", "few"), ("part", "part")):
        _call(place, "index", f"{name}.index", f"{source}.jsonl")
    _call(place, "index", "synced.index", "part.jsonl", *WORDS_ONLY)
    _call(place, "sync", "synced.index", "folder")
    _segments(place)
    _call(place, "blend", "full.index", "--out", "blended")


def _segments(place: Path) -> None:
    """An index in several segments with dead documents: work for merge and vacuum."""
    lines = (place / "many.jsonl").read_text().splitlines(keepends=True)
    for start in range(0, MANY, MANY // 4):
        (place / "some.jsonl").write_text("".join(lines[start : start + MANY // 4]))
        _call(place, "index", "words.index", "some.jsonl", *WORDS_ONLY)
    with Engine.open(place / "words.index") as engine:
        engine.delete([f"n{number}" for number in range(0, MANY, 5)])


def _judged(folder: Path, lines: list[str]) -> None:
    """Queries of two words from a document, which is their answer, as a BEIR folder has them."""
    (folder / "qrels").mkdir(parents=True)
    documents = [json.loads(line) for line in lines[:QUERIES]]
    with (folder / "queries.jsonl").open("w") as queries:
        for document in documents:
            text = " ".join(document["text"].split()[:4])
            queries.write(json.dumps({"_id": f"q{document['id']}", "text": text}) + "\n")
    rows = [f"q{document['id']}\t{document['id']}\t1" for document in documents]
    table = "\n".join(["query-id\tcorpus-id\tscore", *rows])
    (folder / "qrels" / "test.tsv").write_text(table + "\n")


def _call(place: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")


def set_up(templates: Path, place: Path, command: Command) -> None:
    """A folder in which a command can run."""
    (place / "tmp").mkdir(parents=True)
    for name in READ:
        (place / name).symlink_to(templates / name)
    (place / "templates").symlink_to(templates)
    if command.index is not None:
        shutil.copytree(templates / command.index, place / command.index)


def texts_of(path: Path) -> dict[str, str]:
    """The text of each document of an index by its id."""
    with Snapshot.open(path) as snapshot:
        ids = list(snapshot.all_ids())
        found = snapshot.records(snapshot.lookup(ids))
        return {record.id: record.text for record in found}
