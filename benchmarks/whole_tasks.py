"""searchlib as a whole: hybrid queries, encoding's share, filters, opening, one shot, txtai."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import cold_start
import numpy as np
import opening as open_index
import whole_index
from engine_room import OURS
from report import Result, judged, say
from rounds import installed, quantiles, query_times, turns
from workplace import Workplace

from indexes.snapshot import Selection
from searchlib import Document, Engine
from searchlib.encoders.analyzer import Analyzer
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.models import DENSE_DEFAULT, resolve
from searchlib.encoders.sparse import SparseEncoder

WHOLE, QUICK_WHOLE = 100_000, 2_000
PARTS = ("bm25_passage", "sparse", "dense")
ONE_GROUP = "group == 7"
WITH_TXTAI, QUICK_WITH_TXTAI = 1000, 100  # documents


def _whole(place: Workplace) -> tuple[Engine, int]:
    """An index with all representations, made when first wanted."""
    size = QUICK_WHOLE if place.quick else min(WHOLE, max(place.sizes))
    path = place.folder / f"whole-{size}.index"
    if not path.exists():
        whole_index.make(path, place.material, size)
    return Engine.open(path), size


def hybrid(place: Workplace) -> Iterator[Result]:
    """Three retrievers fused over complete scores, against the slowest of them alone."""
    engine, size = _whole(place)
    task = "query, already encoded"
    with engine:
        questions = place.material.all_questions[: place.asked]
        names = [*PARTS, "hybrid"]
        # the unmeasured round fills the caches of query vectors
        asks = {name: partial(_top, engine, name, None, questions) for name in names}
        times = query_times(asks, len(questions), place.rounds)
    for name in names:
        yield from quantiles(f"{OURS} {name}", task, size, times[name])
    slowest = max(float(np.median(times[name])) for name in PARTS)
    value = float(np.median(times["hybrid"])) / slowest
    made = Result(f"{OURS} hybrid", task, size, "times the slowest", value)
    yield judged(made, "<= 1.5") if size >= WHOLE else made


def _top(
    engine: Engine, name: str, where: Selection | None, questions: list[str], i: int
) -> object:
    return engine.retriever(name).top([questions[i]], 10, where, "document")


def share(place: Workplace) -> Iterator[Result]:
    """One query of text, no text twice: how much of its time its encoding takes, and without."""
    engine, size = _whole(place)
    with engine:
        every = place.material.all_questions
        asked = min(8 if place.quick else 40, len(every) // (place.rounds + 2))
        dense = DenseEncoder()  # which the sparse one uses too, as in an index
        encoders = (Analyzer(), SparseEncoder(dense=lambda: dense), dense)
        turn = {"whole": 0, "encode": 0, "instant": 0}

        def fresh(name: str) -> str:
            turn[name] += 1
            return every[turn[name] % len(every)]

        def whole(i: int) -> object:
            return engine.search(fresh("whole"), 10)

        def encode(i: int) -> object:
            text = fresh("encode")
            return [encoder.encode_query([text]) for encoder in encoders]

        def instant(i: int) -> object:
            return engine.search(fresh("instant"), 10, retriever="instant")

        asks = {"whole": whole, "encode": encode, "instant": instant}
        times = query_times(asks, asked, place.rounds)
    task = "query, text to hits"
    yield from quantiles(f"{OURS} hybrid", task, size, times["whole"])
    yield from quantiles(f"{OURS} encoding alone", task, size, times["encode"])
    yield from quantiles(f"{OURS} instant", task, size, times["instant"])
    value = float(np.median(times["encode"]) / np.median(times["whole"]))
    made = Result(f"{OURS} hybrid", task, size, "share of encoding", value)
    yield judged(made, ">= 0.8") if size >= WHOLE else made


def filters(place: Workplace) -> Iterator[Result]:
    """A filter that lets 0.1% through against none; with it ready, and parsed for each query."""
    engine, size = _whole(place)
    with engine:
        questions = place.material.all_questions[: place.asked]
        selection = engine.snapshot.select(ONE_GROUP)
        for name in ("bm25", *PARTS[1:]):

            def parsed(i: int, name: str = name) -> object:
                return _top(engine, name, engine.snapshot.select(ONE_GROUP), questions, i)

            asks: dict[str, Callable[[int], object]] = {
                "": partial(_top, engine, name, None, questions),
                ", 0.1%": partial(_top, engine, name, selection, questions),
                ", 0.1%, filter parsed": parsed,
            }
            times = query_times(asks, len(questions), place.rounds)
            for label, found in times.items():
                yield from quantiles(f"{OURS} {name}{label}", "filters", size, found)
            free = float(np.median(times[""]))
            for label in (", 0.1%", ", 0.1%, filter parsed"):
                value = float(np.median(times[label])) / free
                made = Result(f"{OURS} {name}{label}", "filters", size, "times unfiltered", value)
                yield judged(made, "<= 1") if size >= WHOLE else made


def opening(place: Workplace) -> Iterator[Result]:
    """Opening the largest sparse index in a fresh process, and what it then holds in memory."""
    size = max(place.sizes)
    made = place.sparse("short", size)
    queries = [query.row(0) for query in made.queries]
    path = place.folder / f"short-{size}.index"
    found = [open_index.in_a_process(path, queries, "sparse") for _ in range(place.rounds)]
    middle = {name: float(np.median([some[name] for some in found])) for name in found[0]}
    took = Result(OURS, "open", size, "seconds", middle["open"])
    yield judged(took, "<= 0.3") if size >= 1_000_000 else took
    yield Result(OURS, "open", size, "first query ms", 1000 * middle["first query"])
    yield Result(OURS, "open", size, "index MB", middle["index"] / 1e6)
    before = middle["resident before"]
    for name, value in middle.items():
        if name.startswith("resident ") and name != "resident before":
            label = name.removeprefix("resident ")
            what = "open" if label == "open" else f"{label} queries"
            yield Result(OURS, "open", size, f"MB resident, {what}", (value - before) / 1e6)


def oneshot(place: Workplace) -> Iterator[Result]:
    """Wall time of whole commands; see cold_start.py for more of them."""
    documents, rounds = (200, 2) if place.quick else (2000, max(5, place.rounds))
    program = cold_start.searchlib_command()
    limits = {"bm25": "<= 0.5", "lookup": "<= 0.5", "instant": "<= 0.5", "hybrid": "<= 1.2"}
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        path = Path(folder) / "small.index"
        cold_start.make_index(path, documents)
        walls: dict[str, list[float]] = {name: [] for name in limits}
        for turn in range(rounds + 1):
            for name, wall in walls.items():
                command = [*program, "search", str(path), cold_start.QUERY, "--retriever", name]
                took, _ = cold_start.timed(command)
                if turn:
                    wall.append(took)
    for name, wall in walls.items():
        value = float(np.median(wall))
        made = Result(f"{OURS} {name}", "one-shot command", documents, "seconds", value)
        yield judged(made, limits[name])


def dense(place: Workplace) -> Iterator[Result]:
    """The rows of benchmarks/dense.py."""
    yield from _elsewhere("dense", "dense_rows", place.quick)


def encode(place: Workplace) -> Iterator[Result]:
    """The rows of benchmarks/encode.py."""
    yield from _elsewhere("encode", "encoding_rows", place.quick)


def _elsewhere(module: str, function: str, quick: bool) -> Iterator[Result]:
    try:
        rows: Any = getattr(import_module(module), function)
    except (ImportError, AttributeError):
        say(f"{module}: there is no {function} in benchmarks/{module}.py; left out")
        return
    yield from rows(quick)


def txtai(place: Workplace) -> Iterator[Result]:
    """Indexing texts and answering queries, the same dense model in both."""
    if not installed("txtai", "txtai"):
        return
    size = QUICK_WITH_TXTAI if place.quick else WITH_TXTAI
    texts = place.material.texts(size)
    rounds = 1 if place.quick else max(3, place.rounds)
    with tempfile.TemporaryDirectory(dir=place.folder) as name:
        folder = Path(name)
        actions: dict[str, Callable[[], object]] = {
            OURS: partial(_index_ours, folder, texts),
            "txtai": partial(_index_txtai, texts),
        }
        found = turns(actions, rounds, 2)
        task = "index texts, hybrid"
        for system, (wall, cpu) in found.items():
            yield Result(system, task, size, "docs/s", size / wall)
            yield Result(system, task, size, "docs/s/core", size / cpu)
        made = Result(OURS, task, size, "x txtai", found["txtai"][0] / found[OURS][0])
        yield judged(made, ">= 1.5")
        yield from _txtai_queries(place, folder, texts)


def _txtai_queries(place: Workplace, folder: Path, texts: list[str]) -> Iterator[Result]:
    peer = _index_txtai(texts)
    every = place.material.all_questions
    turn = {OURS: 0, "txtai": 0}

    def fresh(name: str) -> str:
        turn[name] += 1  # no text twice, so that nobody's cache answers
        return every[turn[name] % len(every)]

    with Engine.open(_index_ours(folder, texts)) as engine:
        asks: dict[str, Callable[[int], object]] = {
            OURS: lambda i: engine.search(fresh(OURS), 10),
            "txtai": lambda i: peer.search(fresh("txtai"), 10),
        }
        asked = min(30, len(every) // (place.rounds + 1))
        times = query_times(asks, asked, place.rounds, 2)  # torch takes both, whoever limits it
    task = "query of text, hybrid, 2 threads"
    for system, found in times.items():
        yield from quantiles(system, task, len(texts), found)
    value = float(np.median(times["txtai"]) / np.median(times[OURS]))
    yield judged(Result(OURS, task, len(texts), "x txtai", value), ">= 4")


def _index_ours(folder: Path, texts: list[str]) -> Path:
    path = Path(tempfile.mkdtemp(dir=folder)) / "index"
    with Engine.create(path) as engine:
        engine.add(Document(str(i), text) for i, text in enumerate(texts))
    return path


def _index_txtai(texts: list[str]) -> Any:
    from transformers.utils import logging
    from txtai import Embeddings

    logging.disable_progress_bar()
    made = Embeddings(path=str(resolve(DENSE_DEFAULT).path), hybrid=True, content=True)
    made.index((str(i), text, None) for i, text in enumerate(texts))
    return made
