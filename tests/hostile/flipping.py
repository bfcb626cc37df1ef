"""Flips bits and cuts files of an index, and asks everything of it: run by test_flips.py.

    PYTHONPATH=tests:tests/hostile python tests/hostile/flipping.py --times 5000 [--signed]

Plain: the manifest's checksums stay as they were, as when a disk goes bad: `verify` must name the
file. `--signed`: checksums are made anew, as somebody would who means harm: whatever the file
says then, nothing may crash. Each change is tried within a time limit. Prints what came of them.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import OURS, one_line, time_limit

from indexes import inversion
from indexes.integrity import file_checksum
from indexes.manifest import MANIFEST, _checksum
from indexes.writer import Writer
from searchlib import Document, Engine, Settings

SECONDS = 20  # for all questions to one damaged index
QUERIES = ("cat in the garden", "bread", "the blues band plays a song", "a gardden of breat")
WORDS = ("blues", "band", "cat", "dog", "bird", "garden", "tree", "boat", "bread", "oven", "salt")


@dataclass(frozen=True)
class Change:
    """What is done to a file: a bit flipped, or all behind `place` cut off (bit < 0)."""

    file: str
    place: int
    bit: int

    def to(self, data: bytes) -> bytes:
        if self.bit < 0:
            return data[: self.place]
        return (
            data[: self.place] + bytes([data[self.place] ^ 1 << self.bit]) + data[self.place + 1 :]
        )


def build(path: Path, settings: Settings, count: int) -> None:
    """An index of `count` documents in two segments, with dense lists, codes and dead documents."""
    rng = np.random.default_rng(0)
    documents = [
        Document(
            f"d/{n}",
            ". ".join(" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(1 + n % 4)),
            f"Title {n}",
            {"year": 1990 + n % 30, "lang": "en" if n % 2 else "fr", "tags": ["a", str(n)]},
        )
        for n in range(count)
    ]
    with Engine.create(path, settings) as engine:
        engine.add(documents[: count * 2 // 3])
        engine.add(documents[count * 2 // 3 :])
        engine.delete(["d/1", f"d/{count - 1}"])


def changes(path: Path, times: int, seed: int) -> Iterator[Change]:
    """Each file as often as any other; its ends and its header more often than the rest."""
    rng = np.random.default_rng(seed)
    sizes = {file.name: file.stat().st_size for file in sorted(path.iterdir())}
    names = [name for name, size in sizes.items() if size and name != "write.lock"]
    for number in range(times):
        name = names[number % len(names)]
        size = sizes[name]
        near = min(size, 512)
        place = [
            int(rng.integers(size)),
            int(rng.integers(near)),
            int(rng.integers(size)),
            size - 1 - int(rng.integers(near)),
        ][number // len(names) % 4]
        yield Change(name, place, -1 if rng.random() < 0.1 else int(rng.integers(8)))


def ask(engine: Engine) -> list[Any]:
    """What every retriever answers, with a filter and explanations: JSON values."""
    found: list[Any] = []
    for name in engine.retriever_names():
        for query in QUERIES:
            hits = engine.search(query, 5, retriever=name)
            found.append([[hit.id, round(hit.score, 4), hit.title, hit.snippet] for hit in hits])
        ranking = engine.rank(QUERIES, 1000, retriever=name, unit="passage")
        found.append([list(map(list, part)) for part in ranking])
    hits = engine.search(QUERIES[0], 3, where='year > 2000 and lang = "en"', explain=True)
    found.append([[hit.id, hit.metadata] for hit in hits])
    found.append(list(engine.snapshot.all_ids()))
    found.append(engine.info()["documents"])
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def sign(path: Path, file: str) -> None:
    """Make the manifest agree with the file, as far as it is one that can be read."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        manifest.pop("checksum", None)
        if file != MANIFEST:
            whole = path / file
            manifest["files"][file] = {
                "bytes": whole.stat().st_size,
                "blake2b": file_checksum(whole),
            }
        manifest["checksum"] = _checksum(manifest)
        (path / MANIFEST).write_text(json.dumps(manifest))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def outcome(path: Path, change: Change, right: list[Any], signed: bool) -> str:
    """What came of a change, in words; raises where that is not allowed."""
    file = path / change.file
    good, manifest = file.read_bytes(), (path / MANIFEST).read_bytes()
    file.write_bytes(change.to(good))
    if signed:
        sign(path, change.file)
    try:
        with time_limit(SECONDS), np.errstate(all="ignore"):
            return _outcome(path, change, right, signed)
    finally:
        file.write_bytes(good)
        (path / MANIFEST).write_bytes(manifest)


def _outcome(path: Path, change: Change, right: list[Any], signed: bool) -> str:
    try:
        engine = Engine.open(path)
    except OURS as error:
        one_line(error)
        if not signed:
            # two files of a segment that disagree: either may be named
            other = change.file.endswith((".store", ".passages"))
            if change.file not in str(error) and not other:
                raise AssertionError(f"{change}: {error}") from error
        return "refused at opening"
    with engine:
        problems = engine.verify()
        for problem in problems:
            assert len(problem.splitlines()) == 1, problem
        if not signed:
            assert problems, f"{change} is not noticed"
            assert change.file in problems[0], (change, problems)
        try:
            answers = ask(engine)
        except OURS as error:
            one_line(error)
            found = "refused at a question"
        else:
            found = "right answers" if answers == right else "other answers"
    if change.place % 16 == 0:
        _rewrite(path, right, signed)
    return found


def _rewrite(path: Path, right: list[Any], signed: bool) -> None:
    """A writer refuses the damage too, or does not touch it: no merge makes it look sound."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    try:
        with Engine.open(copy) as engine:
            engine.delete(["d/2"])
            engine.add([Document("d/2", "the cat"), Document("new", "a boat")])
        with Writer.open(copy) as writer:
            writer.merge()
        with Engine.open(copy) as engine:
            engine.delete(["new"])
            sound = not engine.verify()
            answers = ask(engine)
    except OURS as error:
        one_line(error)
        return
    same = sorted(answers[-2]) == sorted(right[-2])  # all ids
    assert signed or not sound or same, "a merge hid the damage"


def tried(path: Path, todo: Iterator[Change], signed: bool) -> Counter[str]:
    """How often each outcome came; raises at the first that is not allowed."""
    with Engine.open(path) as engine:
        right = ask(engine)
    found: Counter[str] = Counter()
    for change in todo:
        try:
            found[outcome(path, change, right, signed)] += 1
        except BaseException:
            sys.stderr.write(f"at {change}\n")
            raise
    return found


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--times", type=int, default=1000)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--documents", type=int, default=60)
    made.add_argument("--signed", action="store_true")
    made.add_argument("--without-kernels", action="store_true")
    made.add_argument("--words-only", action="store_true", help="no models")
    made.add_argument("--keep-going", action="store_true", help="print errors, count them")
    options = made.parse_args()
    faulthandler.enable()
    if options.without_kernels:
        without_kernels()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(dense_model=None, sparse_model=None)
        if not options.words_only:
            from tiny_models import make_bert

            settings = Settings(
                dense_model=str(make_bert(Path(folder) / "dense", masked=False)),
                sparse_model=str(make_bert(Path(folder) / "sparse", masked=True, seed=1)),
                passage_tokens=16,
                overlap=4,
                dense_kind="pq",
            )
        path = Path(folder) / "index"
        inversion.DENSE_FROM = 1
        build(path, settings, options.documents)
        if options.keep_going:
            found = survey(path, changes(path, options.times, options.seed), options.signed)
        else:
            found = tried(path, changes(path, options.times, options.seed), options.signed)
    sys.stdout.write(json.dumps({"changes": options.times, **found}) + "\n")


def survey(path: Path, todo: Iterator[Change], signed: bool) -> Counter[str]:
    """The same, but what is not allowed is counted and printed, too."""
    import traceback

    with Engine.open(path) as engine:
        right = ask(engine)
    found: Counter[str] = Counter()
    for change in todo:
        try:
            found[outcome(path, change, right, signed)] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            found[kind] += 1
            if found[kind] <= 2:
                sys.stderr.write(f"{change}\n{''.join(traceback.format_exception(error)[-6:])}\n")
    return found


def without_kernels() -> None:
    """As if the C extensions of the engine room had not been built."""
    import indexes.kernels
    import indexes.pq

    for module in ("indexes._kernels", "indexes._scan"):
        sys.modules[module] = None  # type: ignore[assignment]
    indexes.kernels.native.cache_clear()
    indexes.pq.kernel.cache_clear()
    assert indexes.kernels.native() is None


if __name__ == "__main__":
    main()
