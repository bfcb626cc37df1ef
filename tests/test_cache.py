"""The file of vectors: what is kept comes back bit for bit, and nothing else is believed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchlib.cache import VectorCache, open_cache
from searchlib.errors import BadInput
from searchlib.types import TermVectors

TEXTS = st.text() | st.sampled_from(["\ud800", "a\0b", ""])
WEIGHTS = st.floats(0, 1e6, width=32)
NUMBERS = st.floats(-1e6, 1e6, width=32)
MODEL = "model 1"


def vectors(n: int, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)


def names(n: int) -> list[str]:
    return [f"text {i}" for i in range(n)]


TERMS = TEXTS.map(lambda text: text.replace("\0", "0"))


@given(st.dictionaries(TEXTS, st.dictionaries(TERMS, WEIGHTS, max_size=4), max_size=6))
def test_terms_come_back_as_they_were(rows):
    with VectorCache(None) as cache:
        cache.put(MODEL, list(rows), TermVectors.of(list(rows.values())))
        places, found = cache.get(MODEL, ["unknown", *rows], None)
        assert places.tolist() == list(range(1, len(rows) + 1))
        assert [found.row(i) for i in range(len(found))] == list(rows.values())
        assert len(cache.get("model 2", list(rows), None)[0]) == 0
        assert len(cache.get(MODEL, list(rows), 3)[0]) == 0  # of another shape


@given(st.lists(st.tuples(TEXTS, st.tuples(NUMBERS, NUMBERS)), unique_by=lambda pair: pair[0]))
def test_vectors_come_back_bit_for_bit(pairs):
    texts = [text for text, _ in pairs]
    given_rows = np.array([row for _, row in pairs], np.float32).reshape(-1, 2)
    with VectorCache(None) as cache:
        cache.put(MODEL, texts, given_rows)
        places, found = cache.get(MODEL, texts[::-1], 2)
        assert places.tolist() == list(range(len(texts)))
        assert found.tobytes() == given_rows[::-1].tobytes()
        assert cache.get(MODEL, texts, 3)[1].shape == (0, 3)
        assert len(cache.get(MODEL, texts, None)[1]) == 0


def test_a_term_that_cannot_be_kept_is_not_known():
    with VectorCache(None) as cache:
        cache.put(MODEL, ["a", "b"], TermVectors.of([{"x\0y": 1.0}, {"z": 1.0}]))
        assert cache.get(MODEL, ["a", "b"], None)[0].tolist() == [1]


def test_fingerprint_and_text_cannot_be_confused():
    with VectorCache(None) as cache:
        cache.put("ab", ["c"], vectors(1))
        assert len(cache.get("a", ["bc"], 8)[0]) == 0


def test_a_file_is_there_the_next_time_and_is_bounded(tmp_path: Path):
    file = tmp_path / "cache"
    with VectorCache(file) as cache:
        cache.put(MODEL, names(50), vectors(50))
    with open_cache(file) as cache:
        assert (cache.get(MODEL, names(50), 8)[1] == vectors(50)).all()
    limit = 200_000
    with VectorCache(file, limit) as cache:
        for start in range(0, 20_000, 500):
            texts = [f"number {i}" for i in range(start, start + 500)]
            cache.put(MODEL, texts, vectors(500))
        assert len(cache.get(MODEL, texts, 8)[0]) == 500  # the newest stay, the oldest go
        assert len(cache.get(MODEL, names(50), 8)[0]) == 0
    assert file.stat().st_size < 2 * limit


def test_putting_anew_replaces():
    with VectorCache(None) as cache:
        cache.put(MODEL, ["a"], vectors(1))
        cache.put(MODEL, ["a"], vectors(1) + 1)
        assert (cache.get(MODEL, ["a"], 8)[1] == vectors(1) + 1).all()


def damaged(file: Path, sql: str) -> VectorCache:
    with sqlite3.connect(file) as db:
        db.execute(sql)
    db.close()
    return VectorCache(file)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE vectors SET vector = substr(vector, 1, 30)",
        "UPDATE vectors SET vector = x'00'",
        "UPDATE vectors SET vector = NULL",
        "UPDATE vectors SET vector = 7",
        "UPDATE vectors SET vector = (SELECT vector FROM vectors ORDER BY number DESC LIMIT 1)"
        " WHERE number < 10",
    ],
)
def test_a_changed_row_is_not_believed(tmp_path: Path, sql: str):
    file = tmp_path / "cache"
    with VectorCache(file) as cache:
        cache.put(MODEL, names(10), vectors(10))
    with damaged(file, sql) as cache:
        places, found = cache.get(MODEL, names(10), 8)
        assert len(places) <= 1
        assert (found == vectors(10)[places]).all()
        cache.put(MODEL, names(10), vectors(10))
        assert len(cache.get(MODEL, names(10), 8)[0]) == 10


def test_what_is_no_number_is_not_believed(tmp_path: Path):
    with VectorCache(tmp_path / "cache") as cache:
        cache.put(MODEL, ["nan", "inf"], np.array([[np.nan] * 8, [np.inf] * 8], np.float32))
        cache.put(MODEL, ["negative"], TermVectors.of([{"a": -1.0}]))
        assert len(cache.get(MODEL, ["nan", "inf"], 8)[0]) == 0
        assert len(cache.get(MODEL, ["negative"], None)[0]) == 0


def test_flipped_bits_anywhere_give_right_rows_or_none(tmp_path: Path):
    file, broken = tmp_path / "cache", tmp_path / "broken"
    with VectorCache(file) as cache:
        cache.put(MODEL, names(60), vectors(60))
    intact = file.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        data = bytearray(intact)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        broken.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        try:
            cache = VectorCache(broken)
        except BadInput:
            continue
        with cache:
            places, found = cache.get(MODEL, names(60), 8)
            assert found.tobytes() == vectors(60)[places].tobytes()
            cache.put(MODEL, ["more"], vectors(1))


@pytest.mark.parametrize("content", [b"years of work\n" * 100, b"SQLite format 3\0" + b"x" * 99])
def test_other_files_are_refused_and_left_alone(tmp_path: Path, content: bytes):
    file = tmp_path / "thesis.txt"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"thesis.txt: cannot be used") as caught:
        VectorCache(file)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path):
    file = tmp_path / "contacts.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE vectors (name TEXT)")
    db.close()
    before = file.read_bytes()
    with pytest.raises(BadInput, match="is no vector cache; name another file"):
        VectorCache(file)
    assert file.read_bytes() == before


def test_folders_that_are_not_there_and_sizes_that_are_none(tmp_path: Path):
    for path in (tmp_path, tmp_path / "no" / "cache"):
        with pytest.raises(BadInput, match="must be a file in a folder that is there"):
            VectorCache(path)
    with pytest.raises(BadInput, match="illegal size"):
        VectorCache(None, 0)


def test_without_the_file_work_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cache = VectorCache(tmp_path / "cache")
    cache.put(MODEL, ["a"], vectors(1))
    with sqlite3.connect(tmp_path / "cache") as db:
        db.execute("DROP TABLE vectors")
    db.close()
    assert len(cache.get(MODEL, ["a"], 8)[0]) == 0
    cache.put(MODEL, ["a"], vectors(1))
    assert "going on without it" in caplog.text
    cache.close()
    cache.close()


WRITER = """
import sys
import numpy as np
from searchlib.cache import VectorCache
cache = VectorCache(sys.argv[1])
number = int(sys.argv[2])
while True:
    texts = [f"text {i}" for i in range(number, number + 20)]
    cache.put("model 1", texts, np.array([[i] * 64 for i in range(number, number + 20)], "f4"))
    number += 20
    print("put", flush=True)
"""


def test_two_processes_and_their_sudden_ends(tmp_path: Path):
    file = tmp_path / "cache"
    for round in range(2):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(file), str((2 * round + i) * 10_000)],
                stdout=subprocess.PIPE,
            )
            for i in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"put\n"
        with VectorCache(file) as cache:
            cache.put("model 1", ["mine"], np.ones((1, 64), np.float32))
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
    with VectorCache(file) as cache:
        for start in range(0, 40_000, 10_000):
            texts = [f"text {i}" for i in range(start, start + 10_000)]
            places, found = cache.get("model 1", texts, 64)
            assert len(places)
            assert len(places) % 20 == 0  # what is written together is there together
            assert (found == (start + places)[:, None]).all()
