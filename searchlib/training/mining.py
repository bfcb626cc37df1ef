"""Candidates for queries, mined with the index itself, each with complete scores of all retrievers.

A candidate is a passage, since that is what encoders read. Hard negatives are what some retriever
takes for an answer (Xiong et al. 2021, arXiv:2007.00808); random ones keep the ends of the
scale known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.snapshot import Snapshot

from ..errors import BadInput, BadQuery, check_seed
from ..indexing import no_progress
from ..protocols import Progress
from ..retrievers import FieldRetriever
from ..scorer import Scorer
from ..searching import Searching
from .artefacts import read_arrays, write_arrays
from .pairs import PseudoQuery, hash_of
from .texts import live_passages

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

QUERIES_AT_ONCE = 64
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class MiningSettings:
    """How many candidates a query has, and where they come from.

    `candidates`: of each query, its own passage included. More show the student more of the
    teacher's ranking, and cost disk and mining time, not training time. `depth`: how deep each
    retriever is asked. `random`: how
    many candidates are drawn from the whole corpus.

    Raises BadQuery for a number out of its range.
    """

    candidates: int = 32
    depth: int = 50
    random: int = 4
    background: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise BadQuery(f"illegal candidates: {self.candidates}, must be 2 or more")
        if self.depth < 1:
            raise BadQuery(f"illegal depth: {self.depth}, must be 1 or more")
        if self.background < 2:
            raise BadQuery(f"illegal background: {self.background}, must be 2 or more")
        if not 0 <= self.random < self.candidates:
            raise BadQuery(
                f"illegal random: {self.random}, must be 0 to {self.candidates - 1}, "
                "less than candidates"
            )
        check_seed(self.seed)


@dataclass(frozen=True)
class CandidateLists:
    """For each of n queries m candidates, the best first, and r retrievers' scores of them.

    `passages` (n, m) int64, numbers of the snapshot's passages; the first is the passage that the
    query came from, where that is known (`own`), else the best by the retrievers together.
    `scores` (n, r, m) float32, complete. `means`, `deviations` (n, r) float32: of what each
    retriever gives the query over random passages, the same for all queries; a deviation is at
    least half of the median query's.
    """

    retrievers: tuple[str, ...]
    passages: Ids
    scores: Floats
    means: Floats
    deviations: Floats
    own: NDArray[np.bool_]  # (n,)

    def __len__(self) -> int:
        return len(self.passages)

    def take(self, rows: NDArray[np.int64]) -> CandidateLists:
        """Those rows, in that order."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name != "retrievers"
        }
        return CandidateLists(self.retrievers, **arrays)


def mine(
    engine: Searching,
    queries: Sequence[PseudoQuery],
    settings: MiningSettings,
    relevant: Sequence[Sequence[str]] | None = None,
    on_progress: Progress = no_progress,
) -> CandidateLists:
    """Candidate lists of the queries: the tops of all retrievers in turn, and random passages.

    The retrievers are those that the hybrid is made of; the hybrid itself (z-scores, equal
    weights) has its turn too. `relevant`: of each query, ids of documents that are answers: none
    of them is a candidate but the query's own. An index with fewer passages than `candidates`
    gives all it has.

    Raises BadInput if the index has fewer than 2 passages, or a query's document is not there.
    """
    names = hybrid_parts(engine)
    parts = [engine.retriever(name) for name in names]
    snapshot = engine.snapshot
    answers = [passages_of(snapshot, ids) for ids in relevant or ()] or [_NONE] * len(queries)
    size = min(settings.candidates, snapshot.n_passages - max(map(len, answers), default=0) + 1)
    size = min(size, snapshot.n_passages)
    if size < 2:
        raise BadInput(
            f"{engine.path} holds {snapshot.n_passages} passages: a query has no other than answers"
        )
    own = own_passages(engine, queries)
    passages = np.empty((len(queries), size), np.int64)
    scores = np.empty((len(queries), len(parts), size), np.float32)
    means, deviations = np.empty((2, len(queries), len(parts)), np.float32)
    everything = live_passages(snapshot)
    background = np.random.default_rng(settings.seed).permutation(everything)
    background = np.sort(background[: settings.background])
    row = 0
    for pools in _pools(parts, queries, settings.depth):
        for pool, tops in pools:
            query = queries[row]
            rng = np.random.default_rng(hash_of(settings.seed, query.text, query.document))
            drawn = rng.choice(everything, 4 * size).tolist()
            given = [] if own[row] < 0 else [int(own[row])]
            banned = set(answers[row].tolist()) - set(given)
            complete = _complete(parts, query.text, pool)
            usual = _complete(parts, query.text, background)
            means[row], deviations[row] = usual.mean(axis=1), usual.std(axis=1)
            together = pool[np.argsort(-_hybrid(complete), kind="stable")]
            turns = [together.tolist(), *(top.tolist() for top in tops)]
            hard = _first(chain(given, _in_turn(turns)), banned, max(1, size - settings.random))
            others = chain(hard, drawn, everything.tolist())
            passages[row] = _first(others, banned, size)
            scores[row] = _complete(parts, query.text, passages[row])
            row += 1
        on_progress(row, len(queries), "mining")
    # subtle: few random passages share a rare word, so that a query of such would be all BM25
    deviations = np.maximum(deviations, np.median(deviations, axis=0) / 2)
    return CandidateLists(names, passages, scores, means, deviations, own >= 0)


def hybrid_parts(engine: Searching) -> tuple[str, ...]:
    """The retrievers of passages that an index has."""
    return (
        "bm25_passage",
        *(name for name in ("sparse", "dense") if name in engine.snapshot.fields),
    )


def hold_queries(engine: Searching, texts: Sequence[str]) -> None:
    """Encode queries together and keep them: from here on their scores need no model."""
    for name in hybrid_parts(engine):
        scorer = engine.retriever(name)
        assert isinstance(scorer, FieldRetriever)
        scorer.queries.size = max(scorer.queries.size, 2 * len(texts))
        scorer.queries.encode(texts)


def own_passages(engine: Searching, queries: Sequence[PseudoQuery]) -> Ids:
    """The passage that each query came from, (n,) int64; -1 where there is none.

    Raises BadInput for a query of a document that the index does not hold.
    """
    snapshot = engine.snapshot
    result = np.full(len(queries), -1, np.int64)
    places = [row for row, query in enumerate(queries) if query.document]
    documents = snapshot.lookup([queries[row].document for row in places])
    if (documents < 0).any():
        lost = queries[places[int(np.argmax(documents < 0))]].document
        raise BadInput(f"document {lost!r} of a pseudo-query is not in {engine.path} any more")
    firsts, counts = snapshot.passages_of_each(documents)
    result[places] = firsts
    for row, document, first, count in zip(places, documents, firsts, counts, strict=True):
        if count > 1 and (middle := (queries[row].start + queries[row].end) // 2):
            spans = snapshot.records(np.array([document]))[0].passages
            inside = [number for number, (start, _) in enumerate(spans) if start <= middle]
            result[row] = first + (inside[-1] if inside else 0)
    return result


def write_lists(path: Path, lists: CandidateLists) -> None:
    """The lists as .npz: whole or not at all."""
    arrays = {field.name: getattr(lists, field.name) for field in fields(lists)}
    write_arrays(path, {**arrays, "retrievers": np.array(lists.retrievers, np.str_)})


def read_lists(path: Path) -> CandidateLists:
    """What `write_lists` wrote. Raises BadInput if it is damaged."""
    arrays = read_arrays(path)
    try:
        names = tuple(str(name) for name in arrays.pop("retrievers"))
        lists = CandidateLists(names, **arrays)
    except (KeyError, TypeError):
        raise BadInput(f"{path} holds no candidate lists; remove it") from None
    shape = (len(lists), len(names), lists.passages.shape[-1])
    if lists.scores.shape != shape or lists.means.shape != shape[:2]:
        raise BadInput(f"{path} holds lists that do not fit together; remove it")
    return lists


def _pools(
    parts: Sequence[Scorer], queries: Sequence[PseudoQuery], depth: int
) -> Iterator[list[tuple[Ids, list[Ids]]]]:
    """Of runs of queries, (all that was found, each part's own top)."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        texts = [query.text for query in queries[start : start + QUERIES_AT_ONCE]]
        found = [part.top(texts, depth, None, "passage") for part in parts]
        pools = []
        for number in range(len(texts)):
            tops = [of_part[number].ids for of_part in found]
            pools.append((np.unique(np.concatenate(tops)), tops))
        yield pools


def _complete(parts: Sequence[Scorer], query: str, passages: Ids) -> Floats:
    """(r, m): what every part gives every passage."""
    return np.stack([part.scores(query, passages, None, "passage") for part in parts])


def _hybrid(scores: Floats) -> Floats:
    """The sum of z-scores, (m,)."""
    spread = np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
    fused: Floats = ((scores - scores.mean(axis=1, keepdims=True)) / spread).sum(axis=0)
    return fused


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    for some in zip_longest(*lists):
        yield from (passage for passage in some if passage is not None)


def _first(passages: Iterator[int], banned: set[int], size: int) -> list[int]:
    """The first `size` different ones that are not banned."""
    found: dict[int, None] = {}
    for passage in passages:
        if len(found) >= size:
            break
        if passage not in banned:
            found.setdefault(int(passage))
    return list(found)


def passages_of(snapshot: Snapshot, documents: Sequence[str]) -> Ids:
    """The passages of those documents that are there."""
    numbers = snapshot.lookup(list(documents))
    firsts, counts = snapshot.passages_of_each(numbers[numbers >= 0])
    ranges = [np.arange(first, first + n) for first, n in zip(firsts, counts, strict=True)]
    return np.concatenate([_NONE, *ranges])
