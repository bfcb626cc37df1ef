"""What benchmarks search: lines of text, queries, and their learned-sparse vectors.

Given as files, or made of this Python's docstrings: less, but without anything to download.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import lzma
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import vectors_data
from demo import docstrings
from report import say

from searchlib.errors import BadInput, NotFound

Csr = Any
Length = Literal["short", "passage"]
WORDS = 12  # a line
QUERY_WORDS = (3, 8)
DOCSTRINGS = 4000  # that are read
ENCODED = 3000  # lines of docstrings that are encoded where no vectors are given
ENCODED_QUERIES = 300


def add_options(made: argparse.ArgumentParser) -> None:
    """The options that say where the material comes from (see `Material.given`)."""
    made.add_argument("--vectors", type=Path, help="sparse vectors of documents: .npz, scipy CSR")
    made.add_argument("--query-vectors", type=Path, help="those of queries")
    made.add_argument("--lines", type=Path, help="texts, one a line (.xz: compressed)")
    made.add_argument("--queries", type=Path, help="queries, one a line")
    made.add_argument(
        "--cache", type=Path, default=Path("build/bench"),
        help="for what was encoded; default: %(default)s",
    )  # fmt: skip


@dataclass(frozen=True)
class Material:
    """Texts and vectors, read or made when they are first wanted.

    `vectors`, `query_vectors`: .npz of scipy CSR matrices, columns those of the default sparse
    model; both or none. `lines`, `queries`: texts, one a line, perhaps .xz. `cache`: a folder
    for what was encoded. `quick`: encode less.
    """

    vectors: Path | None = None
    query_vectors: Path | None = None
    lines: Path | None = None
    queries: Path | None = None
    cache: Path = Path("build/bench")
    quick: bool = False

    def __post_init__(self) -> None:
        if (self.vectors is None) != (self.query_vectors is None):
            raise BadInput("give --vectors and --query-vectors, or none of them")
        for path in (self.vectors, self.query_vectors, self.lines, self.queries):
            if path is not None and not path.is_file():
                raise NotFound(f"{path}: no such file")

    @staticmethod
    def given(options: argparse.Namespace) -> Material:
        """What the options of `add_options`, and `--quick`, say."""
        return Material(
            options.vectors,
            options.query_vectors,
            options.lines,
            options.queries,
            options.cache,
            options.quick,
        )

    @functools.cached_property
    def real(self) -> tuple[Csr, Csr]:
        """The real vectors: documents and queries."""
        if self.vectors is not None and self.query_vectors is not None:
            found = vectors_data.load(self.vectors), vectors_data.load(self.query_vectors)
            if found[0].shape[1] != found[1].shape[1]:
                raise BadInput("the vectors of documents and queries differ in their columns")
            return found
        count = ENCODED // 3 if self.quick else ENCODED
        say(f"no --vectors: those of {count} lines of docstrings, encoded now if never before")
        return vectors_data.cached(
            self.cache / f"docstrings-{count}",
            lambda: vectors_data.encoded(
                list(itertools.islice(_docstring_lines(), count)),
                list(itertools.islice(_docstring_queries(), ENCODED_QUERIES)),
            ),
        )

    def documents(self, length: Length, count: int) -> Csr:
        """`count` rows of about 40 terms, or of about 200; see `vectors_data`."""
        real = self.real[0]
        return (
            vectors_data.short(real, count) if length == "short" else vectors_data.pool(real, count)
        )

    def asked(self, length: Length, count: int) -> Csr:
        """At most `count` queries of about 20 terms, or of about 40."""
        real = self.real[1]
        if length == "passage":
            real = vectors_data.pool(real, real.shape[0], vectors_data.QUERY_LINES)
        return vectors_data.rounded(real[:count])

    @functools.cached_property
    def real_texts(self) -> list[str]:
        """Every line there is."""
        return list(_file_lines(self.lines) if self.lines else _docstring_lines())

    def texts(self, count: int) -> list[str]:
        """`count` lines: the real ones first, then halves of two of them put together."""
        real = self.real_texts
        return real[:count] + list(_mixed(real, count - len(real)))

    @functools.cached_property
    def all_questions(self) -> list[str]:
        """Every query there is."""
        found = _file_lines(self.queries) if self.queries else _docstring_queries()
        return list(itertools.islice(found, 5000))


def _file_lines(path: Path) -> Iterator[str]:
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read as lines of text: {error}") from None


@functools.cache
def _docstrings() -> list[dict[str, str]]:
    return list(itertools.islice(docstrings(), DOCSTRINGS))


def _docstring_lines() -> Iterator[str]:
    for document in _docstrings():
        words = document["text"].split()
        yield f"{document['title']}: {' '.join(words[:WORDS])}"


def _docstring_queries() -> Iterator[str]:
    rng = random.Random(0)
    for document in _docstrings():
        words = document["text"].split()[WORDS:]
        if len(words) > QUERY_WORDS[1]:
            yield " ".join(words[: rng.randint(*QUERY_WORDS)])


def _mixed(lines: list[str], count: int) -> Iterator[str]:
    rng = random.Random(0)
    for _ in range(count):
        first, second = (rng.choice(lines).split() for _ in range(2))
        yield " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])
