"""Word vectors in the formats of word2vec, read as a stream: text (.vec, .txt) and binary (.bin).

Text: a line a word, `word x1 x2 ...`, perhaps after a line `words dimension` (GloVe has none).
Binary: that line, then for each word its bytes, a space and little-endian float32. Either may be
gzipped (.gz). Mikolov et al. 2013 (arXiv:1301.3781).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput

LARGEST_DIMENSION = 4096
LONGEST_WORD = 1024  # bytes
MOST_BYTES = 4 << 30  # of all vectors that are kept
_SHORTEST = 2  # numbers in a line
_MARK = b"\xef\xbb\xbf"  # of UTF-8's byte order, which some editors put first

Vectors = tuple[list[str], NDArray[np.float32]]


def read_word2vec(path: Path, most: int = 400_000) -> Vectors:
    """The first `most` words of a file and their vectors, (n, dimension) float32.

    Published files begin with the most frequent words. A word that comes twice counts once.

    Raises BadInput where the file is none, is cut short, or holds what is not a number.
    """
    try:
        with _opened(path) as file:
            found = _binary(file, path) if ".bin" in path.suffixes[-2:] else _text(file, path)
            return _collected(found, path, most)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise BadInput(f"{path} is damaged or cut short; get the file anew") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from None


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path))
    return path.open("rb")


def _collected(found: Iterator[tuple[str, NDArray[np.float32]]], path: Path, most: int) -> Vectors:
    rows: dict[str, NDArray[np.float32]] = {}
    taken = 0
    for word, vector in found:
        if not np.isfinite(vector).all():
            raise BadInput(f"{path}: the vector of {word[:40]!r} holds what is not a number")
        if word and word not in rows:
            rows[word] = vector
            taken += vector.nbytes
        if len(rows) >= most:
            break
        if taken > MOST_BYTES:
            raise BadInput(f"{path}: its vectors take more than {MOST_BYTES:,} bytes")
    if not rows:
        raise BadInput(f"{path} holds no word vectors")
    return list(rows), np.stack(list(rows.values()))


def _text(file: IO[bytes], path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    longest = LONGEST_WORD + 32 * LARGEST_DIMENSION
    dimension = promised = found = 0
    for number, line in enumerate(iter(lambda: file.readline(longest + 1), b""), start=1):
        where = f"{path}:{number}"
        if len(line) > longest:
            raise BadInput(f"{where}: a line of more than {longest:,} bytes; no word vectors")
        parts = (line.removeprefix(_MARK) if number == 1 else line).rstrip().split(b" ")
        if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
            promised, dimension = int(parts[0][:12]), _dimension(parts[1], where)
            continue
        if parts == [b""]:
            continue
        dimension = dimension or _dimension(b"%d" % (len(parts) - 1), where)
        # subtle: in some files words have spaces; the numbers are the last parts
        if len(parts) <= dimension:
            raise BadInput(
                f"{where}: {len(parts) - 1} numbers after a word, {dimension} are expected"
            )
        try:
            vector = np.array(parts[-dimension:]).astype(np.float32)
        except ValueError:
            raise BadInput(f"{where}: not a word and {dimension} numbers") from None
        found += 1
        yield b" ".join(parts[:-dimension]).decode("utf-8", "replace"), vector
    if 0 < found < promised:
        raise BadInput(
            f"{path} is cut short: its first line says {promised:,} words, {found:,} are there; "
            "get the file anew"
        )


def _binary(file: IO[bytes], path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    header = file.readline(64).split()
    if len(header) != 2 or not (header[0].isdigit() and header[1].isdigit()):
        raise BadInput(f"{path} does not begin with `words dimension`, as word2vec's .bin does")
    dimension = _dimension(header[1], str(path))
    for _ in range(int(header[0][:12])):
        word = bytearray()
        while (byte := file.read(1)) != b" ":
            if not byte:
                raise EOFError
            if len(word) >= LONGEST_WORD:
                raise BadInput(f"{path}: a word of more than {LONGEST_WORD} bytes")
            if word or byte != b"\n":  # some writers end a vector with one
                word += byte
        data = file.read(4 * dimension)
        if len(data) < 4 * dimension:
            raise EOFError
        yield word.decode("utf-8", "replace"), np.frombuffer(data, "<f4")


def _dimension(digits: bytes, where: str) -> int:
    dimension = int(digits[:9])
    if not _SHORTEST <= dimension <= LARGEST_DIMENSION:
        raise BadInput(
            f"{where}: vectors of {dimension} numbers; {_SHORTEST} to {LARGEST_DIMENSION} can be "
            "read"
        )
    return dimension
