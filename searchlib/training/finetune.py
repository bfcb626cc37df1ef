"""Fine-tuning with labels: judged queries, negatives that the index itself mistakes for answers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..errors import BadInput, BadQuery
from ..evaluation import Qrels
from ..indexing import no_progress
from ..protocols import Progress
from ..scorer import best_passages
from ..searching import Searching
from .adapt import CANDIDATES, CHECKED, CHECKS, settings_shown, time_left, vectors
from .card import Card
from .drawing import Material
from .export import must_be_free
from .judging import Judged
from .making import MakingSettings, make_model
from .mining import MiningSettings, mine, passages_of, read_lists, write_lists
from .pairs import PseudoQuery, hash_of
from .publishing import Outcome, finish
from .source import Kind, Source, identity, model_of, opened
from .texts import PassageTexts, live_passages
from .work import once, same_as_begun, work_beside, work_folder


@dataclass(frozen=True)
class FinetuneSettings:
    """All that decides what a fine-tuning makes.

    `held_out`: the share of judged queries that is not trained on: training stops where it gets
    worse on them, and they say at the end whether the new model is better.
    """

    kind: Kind = "sparse"
    mining: MiningSettings = field(default_factory=MiningSettings)
    making: MakingSettings = field(default_factory=MakingSettings)
    held_out: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise BadQuery(f"illegal held_out: {self.held_out}, must be between 0 and 1")


def finetune(
    source: Source,
    topics: Mapping[str, str],
    qrels: Qrels,
    target: Path,
    settings: FinetuneSettings,
    *,
    work: Path | None = None,
    minutes: float | None = None,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> Outcome:
    """Train the source's model on judged queries, and put it at `target` if it is better.

    `topics`: query id -> text. `qrels`: query id -> document id -> relevance, above 0 an answer.
    `work` and the rest as for `adapt`. The model is judged on the held-out queries.

    Raises BadInput if fewer than two judged queries have a text and an answer that is there.
    """
    started = time.monotonic()
    must_be_free(target)
    place = work or work_beside(target)
    plan = {**asdict(settings), "queries": hash_of(0, *map(str, sorted(topics.items())))}
    with work_folder(place, plan), opened(source, place, device, on_progress) as engine:
        base = model_of(engine, settings.kind)
        same_as_begun(place / "source.json", identity(engine))
        answers = answers_there(engine, topics, qrels)
        train, held_out = _split(list(answers), settings)
        texts = PassageTexts(engine.snapshot)

        def material(ids: list[str], path: Path) -> Material:
            queries = positives(engine, {id: topics[id] for id in ids}, answers)
            relevant = [answers[id] for id in ids for _ in answers[id]]
            lists = once(
                path,
                lambda: mine(engine, queries, settings.mining, relevant, on_progress),
                write_lists,
                read_lists,
            )
            passages = [set(passages_of(engine.snapshot, some).tolist()) for some in relevant]
            asked = vectors(engine, [query.text for query in queries])
            return Material(queries, lists, texts, everything, answers=passages, vectors=asked)

        everything = live_passages(engine.snapshot)
        trained_on = material(train, place / CANDIDATES)
        checked_on = material(held_out[:CHECKED], place / CHECKS)
        steps = make_model(
            engine, place, settings.kind, settings.making,
            material=trained_on, checks=checked_on, seconds=time_left(started, minutes),
            device=device, on_progress=on_progress,
        )  # fmt: skip
        judged = Judged(
            "held-out judged queries",
            {id: topics[id] for id in held_out},
            {id: qrels[id] for id in held_out},
        )
        card = Card(
            name=target.name,
            kind=settings.kind,
            base=base,
            made=f"{base}, fine-tuned on judged queries (searchlib finetune).",
            data={
                "documents of": source.name,
                "documents": engine.snapshot.n_documents,
                "judged queries trained on": len(train),
                "answers trained on": len(trained_on),
                "judged queries held out": len(held_out),
            },
            settings={**settings_shown(asdict(settings)), "steps": steps},
        )
        outcome = finish(
            engine, place, target, card, [],
            judged=judged, steps=steps, started=started, device=device, on_progress=on_progress,
        )  # fmt: skip
    if work is None and outcome.model is not None:
        shutil.rmtree(place, ignore_errors=True)
    return outcome


def answers_there(
    engine: Searching, topics: Mapping[str, str], qrels: Qrels
) -> dict[str, list[str]]:
    """Query id -> ids of its relevant documents that the index holds; only queries that have any.

    Raises BadInput if there are fewer than two such queries.
    """
    wanted = {id: [d for d, n in qrels[id].items() if n > 0] for id in topics if id in qrels}
    every = list(dict.fromkeys(d for documents in wanted.values() for d in documents))
    there = {d for d, n in zip(every, engine.snapshot.lookup(every), strict=True) if n >= 0}
    found = {id: [d for d in documents if d in there] for id, documents in wanted.items()}
    found = {id: documents for id, documents in found.items() if documents}
    if len(found) < 2:
        raise BadInput(
            f"{len(found)} of {len(topics)} queries have a relevant document in {engine.path}; "
            "fine-tuning needs two, and a hundred to be of use: do the ids agree?"
        )
    return found


def positives(
    engine: Searching, topics: Mapping[str, str], answers: Mapping[str, list[str]]
) -> list[PseudoQuery]:
    """Each query once with each of its answers, at the answer's best passage by the hybrid."""
    scorer = engine.retriever("hybrid")
    found = []
    for id, text in topics.items():
        documents = engine.snapshot.lookup(answers[id])
        numbers = engine.snapshot.passage_number(best_passages(scorer, text, documents, None))
        records = engine.snapshot.records(np.asarray(documents))
        for record, number in zip(records, numbers.tolist(), strict=True):
            start, end = record.passages[number]
            found.append(PseudoQuery(text, record.id, "given", start, end))
    return found


def _split(ids: list[str], settings: FinetuneSettings) -> tuple[list[str], list[str]]:
    """(to train on, held out): at least one each."""
    order = sorted(ids, key=lambda id: hash_of(settings.seed, id, "held out"))
    size = min(max(1, round(settings.held_out * len(ids))), len(ids) - 1)
    apart = set(order[:size])
    return [id for id in ids if id not in apart], [id for id in ids if id in apart]
