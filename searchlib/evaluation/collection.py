"""A test collection in BEIR's layout: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInput, NotFound
from .topics import read_topics
from .trec import read_qrels


@dataclass(frozen=True)
class Collection:
    """A BEIR folder (Thakur et al. 2021, arXiv:2104.08663); files may end in `.gz` or `.bz2`.

    Raises NotFound if the folder, or a file that makes it a collection, is missing.

    >>> scifact = Collection(Path("scifact"))  # doctest: +SKIP
    >>> scifact.splits(), len(scifact.topics("test"))  # doctest: +SKIP
    (('test', 'train'), 300)
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise NotFound(f"{self.path}: no such folder; expected a BEIR folder")
        self._file("queries.jsonl")
        if not self.splits():
            raise NotFound(f"{self.path}: no qrels/*.tsv in it; expected a BEIR folder")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def corpus(self) -> Path:
        """Where the documents are: `corpus.jsonl`."""
        return self._file("corpus.jsonl")

    def splits(self) -> tuple[str, ...]:
        """Names of the sets of judgements, such as ("test", "train"), sorted."""
        files = (self.path / "qrels").glob("*.tsv*")
        return tuple(sorted({file.name.split(".tsv")[0] for file in files}))

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
        path = self._file(f"qrels/{self.split(split)}.tsv")
        qrels = read_qrels(path)
        if not qrels:
            raise BadInput(f"{path}: no judgements in it")
        return qrels

    def queries(self) -> dict[str, str]:
        """All queries, judged or not: id -> text."""
        return read_topics(self._file("queries.jsonl"))

    def topics(self, split: str | None = None) -> dict[str, str]:
        """The queries that the split judges: id -> text, in the order of `queries.jsonl`.

        Raises BadInput if a judged query has no text.
        """
        qrels, queries = self.qrels(split), self.queries()
        missing = [id for id in qrels if id not in queries]
        if missing:
            raise BadInput(
                f"{self.path}: {len(missing)} judged queries are not in queries.jsonl"
                f" (the first: {missing[0]!r})"
            )
        return {id: text for id, text in queries.items() if id in qrels}

    def _file(self, name: str) -> Path:
        for ending in ("", ".gz", ".bz2", ".xz", ".zst"):
            path = self.path / (name + ending)
            if path.is_file():
                return path
        raise NotFound(f"{self.path}: no {name} in it; expected a BEIR folder")
