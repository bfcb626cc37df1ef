"""Word vectors in word2vec's formats: read back, and what is none is refused in one line."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchlib.encoders import word2vec
from searchlib.encoders.word2vec import read_word2vec
from searchlib.errors import BadInput

WORDS = ["the", "\u96e8", "na\u00efve", "e-mail", "New"]
VECTORS = np.arange(20, dtype=np.float32).reshape(5, 4) / 8 - 1


def text(header: bool = True) -> bytes:
    lines = [f"{len(WORDS)} 4"] if header else []
    for word, vector in zip(WORDS, VECTORS, strict=True):
        lines.append(" ".join([word, *map(str, vector.tolist())]))
    return ("\n".join(lines) + "\n").encode()


def binary(newlines: bool = True) -> bytes:
    data = f"{len(WORDS)} 4\n".encode()
    for word, vector in zip(WORDS, VECTORS, strict=True):
        data += word.encode() + b" " + vector.astype("<f4").tobytes() + b"\n" * newlines
    return data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.vec", text()),
        ("a.txt", text(header=False)),
        ("a.bin", binary()),
        ("b.bin", binary(newlines=False)),
        ("a.vec.gz", gzip.compress(text(), mtime=0)),
        ("a.bin.gz", gzip.compress(binary(), mtime=0)),
    ],
)
def test_every_form_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    words, vectors = read_word2vec(tmp_path / name)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)


@pytest.mark.parametrize("header", [True, False])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path, header: bool) -> None:
    (tmp_path / "a.vec").write_bytes(b"\xef\xbb\xbf" + text(header))
    words, vectors = read_word2vec(tmp_path / "a.vec")
    assert words == WORDS
    assert vectors.shape == (5, 4)


def test_lines_that_the_first_one_promises_are_not_missed_where_few_are_wanted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.vec"
    path.write_bytes(b"900 2\na 1 2\na 3 4\nb 5 6\n")
    assert read_word2vec(path, most=2)[0] == ["a", "b"]
    path.write_bytes(b"3 2\na 1 2\na 3 4\nb 5 6\n")  # a word that comes twice is there
    assert read_word2vec(path)[0] == ["a", "b"]


def test_only_the_first_words_are_taken_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    path.write_bytes(b"a 1 2\na 3 4\nb 5 6\nc 7 8\nnever read: no number")
    words, vectors = read_word2vec(path, most=3)
    assert words == ["a", "b", "c"]
    assert vectors.tolist() == [[1, 2], [5, 6], [7, 8]]


def test_a_word_may_have_spaces(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    path.write_bytes(b"2 2\nNew York 1 2\n. . 3 4\n")
    assert read_word2vec(path)[0] == ["New York", ". ."]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.vec", b"", "no word vectors"),
        ("a.vec", b"3 2\n", "no word vectors"),
        ("a.vec", b"a 1 2\nb 1\n", "a.vec:2: 1 numbers after a word, 2 are expected"),
        ("a.vec", b"a 1 2\nb 1 x\n", "a.vec:2: not a word and 2 numbers"),
        ("a.vec", b"900 2\na 1 2\nb 3 4\n", "says 900 words, 2 are there"),
        ("a.vec", b"\xc2\xb2 2\na 1 2\n", "vectors of 1 numbers"),  # a 2, but no digit
        ("a.vec", b"a 1 nan\n", "not a number"),
        ("a.vec", b"a 1 1e999\n", "not a number"),
        ("a.vec", b"1 99999999\n", "vectors of 99999999 numbers"),
        ("a.vec", b"just text\n", "can be read"),
        ("a.vec", b"x" * 300_000, "more than"),
        ("a.bin", b"\x89PNG\r\n\x1a\n" * 9, "does not begin with"),
        ("a.bin", binary()[:-9], "cut short"),
        ("a.bin", b"9 2\n" + b"y" * 3000, "a word of more than"),
        ("a.bin", b"999999999999999999999 4\na " + b"\0" * 16, "cut short"),
        ("a.vec.gz", gzip.compress(text(), mtime=0)[:-12], "cut short"),
        ("a.vec.gz", text(), "damaged"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read_word2vec(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        read_word2vec(tmp_path / "a.vec")


def test_a_small_file_that_unpacks_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word2vec, "MOST_BYTES", 1 << 16)
    lines = b"".join(b"w%d 1 2 3 4\n" % i for i in range(20_000))
    (tmp_path / "a.vec.gz").write_bytes(gzip.compress(lines))
    with pytest.raises(BadInput, match="more than 65,536 bytes"):
        read_word2vec(tmp_path / "a.vec.gz")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["a.vec", "a.bin", "a.vec.gz"]), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, name: str, begun: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(b"2 2\n" * begun + data)
        words, vectors = [], np.zeros((0, 2))
        with contextlib.suppress(BadInput):  # any other error fails
            words, vectors = read_word2vec(path)
        assert vectors.shape[0] == len(words) == len(set(words))
        assert np.isfinite(vectors).all()
