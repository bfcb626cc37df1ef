"""A test collection in BEIR's layout: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`.

Or with folders of files `corpus` and `queries`, as data sets of Hugging Face's hub have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInput, NotFound
from .topics import read_topics
from .trec import read_qrels

_PART = r"-\d+-of-\d+"  # test-00000-of-00002.parquet
_PACKED = r"(?:\.gz|\.bz2|\.xz|\.zst)?"
_QRELS = re.compile(rf"([^.].*?)(?:{_PART})?\.(?:tsv|jsonl|csv|parquet){_PACKED}")
_QUERIES = re.compile(rf"[^.].*\.(?:jsonl|parquet){_PACKED}")


@dataclass(frozen=True)
class Collection:
    """A BEIR folder (Thakur et al. 2021, arXiv:2104.08663); files may end in `.gz .bz2 .xz .zst`.

    `corpus` and `queries` may be folders of JSON Lines or Parquet, and judgements `.jsonl`, `.csv`
    or `.parquet`, in parts or not. Raises NotFound if the folder, or a file that makes it a
    collection, is missing.

    >>> scifact = Collection(Path("scifact"))  # doctest: +SKIP
    >>> scifact.splits(), len(scifact.topics("test"))  # doctest: +SKIP
    (('test', 'train'), 300)
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise NotFound(f"{self.path}: no such folder; expected a BEIR folder")
        self._queries()
        if not self.splits():
            raise NotFound(f"{self.path}: no qrels/*.tsv in it; expected a BEIR folder")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def corpus(self) -> Path:
        """Where the documents are: `corpus.jsonl`, or the folder `corpus`."""
        return self._file("corpus.jsonl")

    def splits(self) -> tuple[str, ...]:
        """Names of the sets of judgements, such as ("test", "train"), sorted."""
        return tuple(sorted(self._qrels()))

    def split(self, wanted: str | None = None) -> str:
        """`wanted` if it is there; without one: test, else dev, else the only one there is.

        Raises NotFound, listing the splits, if that does not name one.
        """
        there = self.splits()
        choices = [wanted] if wanted else ["test", "dev", *(there if len(there) == 1 else ())]
        for choice in choices:
            if choice in there:
                return choice
        raise NotFound(f"{self.path}: no split {wanted or 'test'!r}; it has {', '.join(there)}")

    def qrels(self, split: str | None = None) -> dict[str, dict[str, int]]:
        """Judgements of the split: query id -> document id -> relevance.

        Raises BadInput if there are none.
        """
        qrels: dict[str, dict[str, int]] = {}
        files = self._qrels()[self.split(split)]
        for path in files:
            for query, judged in read_qrels(path).items():
                qrels.setdefault(query, {}).update(judged)
        if not qrels:
            raise BadInput(f"{files[0]}: no judgements in it")
        return qrels

    def queries(self) -> dict[str, str]:
        """All queries, judged or not: id -> text."""
        queries: dict[str, str] = {}
        for path in self._queries():
            queries |= read_topics(path)
        return queries

    def topics(self, split: str | None = None) -> dict[str, str]:
        """The queries that the split judges: id -> text, in the order of `queries.jsonl`.

        Raises BadInput if a judged query has no text.
        """
        qrels, queries = self.qrels(split), self.queries()
        missing = [id for id in qrels if id not in queries]
        if missing:
            where = self._file("queries.jsonl").name
            raise BadInput(
                f"{self.path}: {len(missing)} judged queries are not in {where}"
                f" (the first: {missing[0]!r})"
            )
        return {id: text for id, text in queries.items() if id in qrels}

    def _queries(self) -> list[Path]:
        there = self._file("queries.jsonl")
        files = sorted(there.iterdir()) if there.is_dir() else [there]
        return [file for file in files if _QUERIES.fullmatch(file.name)]

    def _qrels(self) -> dict[str, list[Path]]:
        """The files of each split: one, which is TSV if such a one is there, or all its parts."""
        found: dict[str, list[Path]] = {}
        for path in sorted((self.path / "qrels").glob("*"), key=_tsv_first):
            if named := _QRELS.fullmatch(path.name):
                found.setdefault(named[1], []).append(path)
        return {split: _whole(files) or files for split, files in found.items()}

    def _file(self, name: str) -> Path:
        """The file, packed or not, else the folder that is called so without its ending."""
        for ending in ("", ".gz", ".bz2", ".xz", ".zst"):
            path = self.path / (name + ending)
            if path.is_file():
                return path
        folder = (self.path / name).with_suffix("")
        if folder.is_dir():
            return folder
        raise NotFound(f"{self.path}: no {name} in it; expected a BEIR folder")


def _tsv_first(path: Path) -> tuple[bool, str]:
    return ".tsv" not in path.name, path.name


def _whole(files: list[Path]) -> list[Path]:
    """The first file that is no part of several, if there is one."""
    return [file for file in files if not re.search(_PART, file.name)][:1]
