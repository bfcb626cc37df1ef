"""Fine-tuning with labels: a few numbers on top of a model, or all of its weights.

The few (see `mapping`, `gaining`) need no more than the index's vectors. Training a whole model
needs negatives that the index itself mistakes for answers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, BadQuery, check_seed
from ..evaluation import Qrels, answers_in
from ..indexing import no_progress
from ..protocols import Progress
from ..scorer import best_passages
from ..searching import Searching
from .adapt import CANDIDATES, CHECKED, CHECKS, proving, settings_shown, time_left, vectors
from .card import Card
from .drawing import Material
from .fitting import FitSettings
from .gaining import GAINS, make_gains
from .judging import Judged, hash_of_judgements
from .making import MakingSettings, check_trainable, make_model
from .mapping import MAP, make_map
from .mining import MiningSettings, mine, passages_of, read_lists, write_lists
from .new_folder import must_be_free
from .pairs import PseudoQuery, hash_of
from .publishing import Outcome, finish
from .source import Kind, Source, identity, model_of, opened
from .texts import PassageTexts, live_passages
from .work import SOURCE, once, same_as_begun, work_beside, work_folder


@dataclass(frozen=True)
class FinetuneSettings:
    """All that decides what a fine-tuning makes.

    `held_out`: the share of judged queries that is not trained on: training stops where it gets
    worse on them, and they say at the end whether the new model is better. `whole`: all weights of
    the model are trained; otherwise a map of dense vectors, or factors of a query's terms.
    """

    kind: Kind = "sparse"
    whole: bool = False
    map: FitSettings = MAP
    gains: FitSettings = GAINS
    mining: MiningSettings = field(default_factory=MiningSettings)
    making: MakingSettings = field(default_factory=lambda: MakingSettings(share=0.5))
    held_out: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise BadQuery(f"illegal held_out: {self.held_out}, must be between 0 and 1")
        check_seed(self.seed)


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

    Raises BadInput if fewer than two judged queries have a text and an answer that is there,
    UnsupportedModel for a model that cannot be trained, such as static vectors.
    """
    started = time.monotonic()
    must_be_free(target)
    place = work or work_beside(target)
    plan = {
        **asdict(settings),
        "queries": hash_of(0, *map(str, sorted(topics.items()))),
        "judgements": hash_of_judgements(qrels),
    }
    with work_folder(place, plan), opened(source, place, device, on_progress) as engine:
        base = model_of(engine, settings.kind)
        if settings.whole:
            check_trainable(base, settings.kind)
        same_as_begun(place / SOURCE, identity(engine))
        answers = answers_there(engine, topics, qrels)
        train, held_out = _split({id: topics[id] for id in answers}, settings)
        if not settings.whole:
            fit, chosen = _fit(settings)
            steps = fit(
                engine, place, chosen, {id: topics[id] for id in train}, answers,
                seed=settings.seed, on_progress=on_progress,
            )  # fmt: skip
        else:
            steps = _make_whole(
                engine, place, settings,
                topics=topics, answers=answers, train=train, checked=held_out[:CHECKED],
                seconds=time_left(started, minutes), device=device, on_progress=on_progress,
            )  # fmt: skip
        proof = proving(held_out) if settings.whole else held_out
        judged = Judged(
            "held-out judged queries",
            {id: topics[id] for id in proof},
            {id: qrels[id] for id in proof},
            _parts(answers, train, proof),
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
                "answers trained on": sum(len(answers[id]) for id in train),
                "judged queries held out": len(held_out),
            },
            settings={**settings_shown(_used(settings)), "steps": steps},
        )
        outcome = finish(
            engine, place, target, card, [],
            judged=judged, steps=steps, started=started, device=device, on_progress=on_progress,
        )  # fmt: skip
    if work is None and outcome.model is not None:
        shutil.rmtree(place, ignore_errors=True)
    return outcome


def _fit(settings: FinetuneSettings) -> tuple[Callable[..., int], FitSettings]:
    if settings.kind == "sparse":
        return make_gains, settings.gains
    return make_map, settings.map


def _used(settings: FinetuneSettings) -> dict[str, Any]:
    """The settings that had a say."""
    other = "map" if settings.kind == "sparse" else "gains"
    unused = ("map", "gains") if settings.whole else ("mining", "making", other)
    return {key: value for key, value in asdict(settings).items() if key not in unused}


def _make_whole(
    engine: Searching,
    work: Path,
    settings: FinetuneSettings,
    *,
    topics: Mapping[str, str],
    answers: Mapping[str, list[str]],
    train: Sequence[str],
    checked: Sequence[str],
    seconds: float | None,
    device: str | None,
    on_progress: Progress,
) -> int:
    """Train all weights against mined negatives; how many steps it took."""
    texts, everything = PassageTexts(engine.snapshot), live_passages(engine.snapshot)

    def material(ids: Sequence[str], path: Path) -> Material:
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

    return make_model(
        engine, work, settings.kind, settings.making,
        material=material(train, work / CANDIDATES), checks=material(checked, work / CHECKS),
        seconds=seconds, device=device, on_progress=on_progress,
    )  # fmt: skip


def _parts(
    answers: Mapping[str, list[str]], train: Sequence[str], held_out: Sequence[str]
) -> dict[str, list[str]]:
    """The held-out queries none of whose answers a training query has, if these are some of all.

    Where answers are often the same ones, a model may learn them by heart: these queries tell.
    """
    known = {document for id in train for document in answers[id]}
    new = [id for id in held_out if known.isdisjoint(answers[id])]
    return {"of them, with new answers": new} if 0 < len(new) < len(held_out) else {}


def answers_there(
    engine: Searching, topics: Mapping[str, str], qrels: Qrels
) -> dict[str, list[str]]:
    """Query id -> ids of its relevant documents that the index holds; only queries that have any.

    Raises BadInput if there are fewer than two such queries.
    """
    found = answers_in(engine.snapshot, topics, qrels)
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


def _split(topics: Mapping[str, str], settings: FinetuneSettings) -> tuple[list[str], list[str]]:
    """(to train on, held out), ids: at least one each; queries of one text are on one side.

    Raises BadInput if all have the same text.
    """
    texts = {id: " ".join(text.casefold().split()) for id, text in topics.items()}
    if len(set(texts.values())) < 2:
        raise BadInput("all judged queries have the same text; fine-tuning needs two, at least")
    order = sorted(set(texts.values()), key=lambda text: hash_of(settings.seed, text, "held out"))
    size = min(max(1, round(settings.held_out * len(order))), len(order) - 1)
    apart = set(order[:size])
    held_out = [id for id, text in texts.items() if text in apart]
    return [id for id, text in texts.items() if text not in apart], held_out
