"""Pseudo-queries: what a corpus would be asked, made of the corpus itself, without labels.

Documents stream by once to be counted and once to be cut; what is held is bounded by the number
of queries that are wanted. The result depends on the seed and on the documents, not on their
order.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from ..encoders.analyzer import Analyzer
from ..errors import BadInput, BadQuery, check_seed
from ..evaluation.lines import numbered_lines, text_of
from ..evaluation.topics import read_topics
from ..types import Document
from .extracting import Extract, Extractor, Idf

Kind = Literal["title", "heading", "question", "sentence", "cloze", "crop", "keywords", "given"]
OWN_KINDS: tuple[Kind, ...] = get_args(Kind)[:-1]  # those that are made of the corpus

ROUNDS = 8  # queries of a kind that one document can give
COUNTED = 20_000  # documents whose words are counted, to know which are rare
_REMOVED = ("heading", "question", "sentence", "cloze", "crop")


@dataclass(frozen=True)
class PseudoQuery:
    """A query that nobody asked, and the document that it came from."""

    text: str
    document: str  # its id; "" for a query that was given
    kind: Kind
    start: int = 0  # where it stands in the document's text; 0, 0: nowhere (a title)
    end: int = 0


@dataclass(frozen=True)
class PairSettings:
    """Which pseudo-queries are made, and how many.

    `most`: in all. More is better and slower; 2,000 to 20,000 are usual. `per_kind`: of a kind,
    default as many as `most` leaves room for. Kinds share evenly; what one cannot fill, others
    do, and within a kind each document gives one query before any gives two. `held_out`: the
    share of documents whose queries are kept for testing.

    Raises BadQuery for an unknown kind or a number out of its range.
    """

    kinds: tuple[Kind, ...] = OWN_KINDS
    most: int = 8000
    per_kind: int | None = None
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.kinds if kind not in OWN_KINDS]:
            raise BadQuery(
                f"unknown kind of pseudo-query {unknown[0]!r}; known are {', '.join(OWN_KINDS)}"
            )
        for name, value in (("most", self.most), ("per_kind", self.per_kind)):
            if value is not None and value < 1:
                raise BadQuery(f"illegal {name}: {value}, must be 1 or more")
        if not 0 < self.held_out < 1:
            raise BadQuery(f"illegal held_out: {self.held_out}, must be between 0 and 1")
        check_seed(self.seed)


Documents = Callable[[], Iterable[Document]]
"""Gives the same documents each time it is called."""


def make_queries(
    documents: Documents, settings: PairSettings, words: Analyzer | None = None
) -> list[PseudoQuery]:
    """Pseudo-queries of a corpus, in random but reproducible order; no text stands twice.

    Raises BadInput if the documents hold no sentence, title or words to make one of.
    """
    words = words or Analyzer()
    idf = count_words(documents(), words)
    extractor = Extractor(words, idf)
    rounds = min(ROUNDS, math.ceil(settings.most / max(1, idf.documents)))
    functions: dict[Kind, Extract] = {
        "title": extractor.titles,
        "heading": extractor.headings,
        "question": extractor.questions,
        "sentence": extractor.key_sentences,
        "cloze": extractor.cloze,
        "crop": extractor.crops,
        "keywords": extractor.keywords,
    }
    cap = min(settings.most, settings.per_kind or settings.most)
    kept = {kind: _Smallest(cap) for kind in settings.kinds}
    for document in documents():
        for kind in settings.kinds:
            number = hash_of(settings.seed, document.id, kind)
            if kept[kind].refuses((0, number)):
                continue
            # subtle: a seed of its own, so that the queries of a document depend on no other
            pieces = functions[kind](document, random.Random(number))
            for round, (text, start, end) in enumerate(islice(_distinct(pieces), rounds)):
                query = PseudoQuery(text, document.id, kind, start, end)
                if not kept[kind].offer((round, number), query):
                    break
    queries = _shared({kind: kept[kind].in_order() for kind in settings.kinds}, settings.most)
    if not queries:
        raise BadInput(
            "no pseudo-queries can be made of these documents: they have no titles and no "
            "sentences; give queries of your own"
        )
    return queries


def count_words(documents: Iterable[Document], words: Analyzer) -> Idf:
    """In how many of the first 20,000 documents each word stands."""
    frequencies: Counter[str] = Counter()
    total = 0
    source = islice(documents, COUNTED)
    while chunk := list(islice(source, 256)):
        counts = words.encode_document([f"{document.title} {document.text}" for document in chunk])
        here = np.bincount(counts.indices, minlength=len(counts.terms)).tolist()
        frequencies.update(dict(zip(counts.terms, here, strict=True)))
        total += len(chunk)
    return Idf(total, frequencies)


def split_by_document(
    queries: Sequence[PseudoQuery], share: float, seed: int
) -> tuple[list[PseudoQuery], list[PseudoQuery]]:
    """(train, held out): all queries of a document are on one side; `share` of the documents.

    Queries without a document count as documents of their own. At least one document is held
    out where there are two or more.
    """
    owners = [query.document or f"\0{query.text}" for query in queries]
    order = sorted(set(owners), key=lambda owner: hash_of(seed, owner, "held out"))
    size = round(share * len(order))
    apart = set(order[: max(1, size)] if len(order) > 1 else [])
    sides: tuple[list[PseudoQuery], list[PseudoQuery]] = ([], [])
    for query, owner in zip(queries, owners, strict=True):
        sides[owner in apart].append(query)
    return sides


def without_query(query: PseudoQuery, title: str, text: str, offset: int = 0) -> tuple[str, str]:
    """The title and text of the query's own document without what became the query.

    A title-query takes the title away, a sentence its characters; keywords leave all as it is.
    So a model is not paid for finding words that it was given. `text` begins at character
    `offset` of the document's text.

    >>> without_query(PseudoQuery("It rests.", "d", "cloze", 9, 18), "Bread", "It rises. It rests.")
    ('Bread', 'It rises. .')
    """
    if query.kind == "title":
        return "", text
    if query.kind not in _REMOVED:
        return title, text
    start, end = max(query.start - offset, 0), max(query.end - offset, 0)
    return title, text[:start] + text[end:]


def read_queries(path: Path) -> list[PseudoQuery]:
    """Unlabelled queries that a user brings: `.txt` one a line, or any file of topics.

    See `evaluation.topics.read_topics` for BEIR's JSON Lines, TSV and TREC. Raises NotFound,
    BadInput.
    """
    if path.suffix == ".txt":
        texts = [text_of(line, path, number).strip() for number, line in numbered_lines(path)]
        if not texts:
            raise BadInput(f"{path}: no queries in it")
    else:
        texts = list(read_topics(path).values())
    return [PseudoQuery(text, "", "given") for text in dict.fromkeys(texts)]


def write_pairs(path: Path, queries: Sequence[PseudoQuery]) -> None:
    """The queries as JSON Lines, one a line; the file appears whole or not at all."""
    from .artefacts import write_whole

    lines = (json.dumps(asdict(query), ensure_ascii=False) + "\n" for query in queries)
    write_whole(path, "".join(lines).encode("utf-8", "surrogatepass"))


def read_pairs(path: Path) -> list[PseudoQuery]:
    """What `write_pairs` wrote. Raises BadInput, naming file and line."""
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line.decode("utf-8", "surrogatepass"))
                found.append(PseudoQuery(**record))
            except (ValueError, TypeError):
                raise BadInput(f"{path}:{number}: not a pseudo-query; remove the file") from None
    return found


def hash_of(seed: int, *parts: str) -> int:
    """64 bits that depend on nothing but these values."""
    data = "\n".join((str(seed), *parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


class _Smallest:
    """The queries with the smallest keys (round, hash), at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, str, PseudoQuery]] = []  # the largest key on top

    def refuses(self, key: tuple[int, int]) -> bool:
        """Whether nothing with this key or a larger one would be kept."""
        return len(self._heap) >= self._size and (-key[0], -key[1]) < self._heap[0][:2]

    def offer(self, key: tuple[int, int], query: PseudoQuery) -> bool:
        """Keep a query, or say that there are enough with smaller keys."""
        if self.refuses(key):
            return False
        heapq.heappush(self._heap, (-key[0], -key[1], query.text, query))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)
        return True

    def in_order(self) -> list[PseudoQuery]:
        return [entry[3] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


def _distinct(pieces: Iterator[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    seen: set[str] = set()
    for piece in pieces:
        if piece[0] not in seen:
            seen.add(piece[0])
            yield piece


def _shared(kinds: Mapping[Kind, Sequence[PseudoQuery]], most: int) -> list[PseudoQuery]:
    """Turn by turn one of each kind that has some left, at most `most`, no text twice."""
    seen: set[str] = set()
    found: list[PseudoQuery] = []
    queues = [iter(queries) for queries in kinds.values()]
    while queues and len(found) < most:
        for queue in list(queues):
            query = next((query for query in queue if query.text.casefold() not in seen), None)
            if query is None:
                queues.remove(queue)
            elif len(found) < most:
                seen.add(query.text.casefold())
                found.append(query)
    return found


def kinds_of(names: str) -> tuple[Kind, ...]:
    """The kinds that a text lists with commas; PairSettings checks them."""
    return tuple(cast(Kind, name.strip()) for name in names.split(",") if name.strip())
