"""Adaptation without labels: a model learns a corpus from its own text, and proves it.

Steps, each leaving its finished work in the work folder: an index (`source`), pseudo-queries
(`pairs`), candidates with complete scores (`mining`), reading the corpus if asked (`reading`),
training against the teacher (`making`), judging on held-out queries and publishing (`publishing`).
GPL (Wang et al. 2022, arXiv:2112.07577) does so for dense models with a generator and a
cross-encoder; here the teacher is the index's own ensemble.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..encoders.analyzer import Analyzer
from ..errors import BadInput, BadQuery
from ..indexing import no_progress
from ..protocols import Progress
from ..retrievers import FieldRetriever
from ..searching import Searching
from .card import Card, Value
from .drawing import Floats, Material, Teacher
from .judging import Judged, hash_of_judgements
from .making import MakingSettings, check_trainable, make_model
from .mining import CandidateLists, MiningSettings, hold_queries, mine, read_lists, write_lists
from .new_folder import must_be_free
from .pairs import (
    PairSettings,
    PseudoQuery,
    hash_of,
    make_queries,
    read_pairs,
    split_by_document,
    write_pairs,
)
from .publishing import Outcome, finish
from .reading import ReadingSettings
from .source import Kind, Source, identity, model_of, opened
from .teacher import CrossEncoded, Ensemble, PairScorer, TeacherWeights
from .texts import PassageTexts, documents_of, live_passages
from .work import SOURCE, once, same_as_begun, work_beside, work_folder

QUERIES, CANDIDATES, CHECKS = "queries.jsonl", "candidates.npz", "checks.npz"
CHECKED = 128  # held-out queries that training is checked with now and then


Query = TypeVar("Query")


@dataclass(frozen=True)
class AdaptSettings:
    """All that decides what an adaptation makes.

    `tested`: how many held-out queries the new model is judged on, at most. More: a smaller gain
    can be told from luck; judging takes longer.
    """

    kind: Kind = "sparse"
    pairs: PairSettings = field(default_factory=PairSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    teacher: TeacherWeights = field(default_factory=TeacherWeights)
    making: MakingSettings = field(
        default_factory=lambda: MakingSettings(reading=ReadingSettings(steps=0))
    )
    tested: int = 1000

    @property
    def plan(self) -> dict[str, Any]:
        """The settings as JSON values, to be compared when work goes on."""
        return asdict(self)


def adapt(
    source: Source,
    target: Path,
    settings: AdaptSettings,
    *,
    work: Path | None = None,
    minutes: float | None = None,
    given: Sequence[PseudoQuery] = (),
    judged: Judged | None = None,
    cross_encoder: PairScorer | None = None,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> Outcome:
    """Make the source's model better on its documents, and put it at `target` if it is.

    `work`: where steps leave what they finished, beside `target` by default; a run that was
    stopped, repeated, goes on from there, and what is there is removed when a better model is in
    place. `given`: queries that a user brings, trained on beside pseudo-queries. `judged`: used
    to measure only. `cross_encoder`: teaches in place of the ensemble.

    The model is better if held-out pseudo-queries, or the judged ones, say so with p < 0.05, and
    none of them says the opposite. If not, nothing is put at `target`, and what was trained
    stays in the work folder.

    Raises BadInput for a source that cannot be trained on, or if `target` exists; BadQuery if
    there is nothing to train with.
    """
    started = time.monotonic()
    _check(settings)
    must_be_free(target)
    place = work or work_beside(target)
    plan = {
        **settings.plan,
        "given": hash_of(0, *(query.text for query in given)) if given else None,
        "judged": judged and [judged.name, hash_of_judgements(judged.qrels), judged.asked],
        "cross_encoder": cross_encoder and _manner(cross_encoder),
    }
    with (
        work_folder(place, plan),
        opened(source, place, device, on_progress) as engine,
    ):
        base = model_of(engine, settings.kind)
        check_trainable(base, settings.kind)
        same_as_begun(place / SOURCE, identity(engine))
        train, held_out = _queries(engine, place, settings, given, on_progress)
        checked = held_out[:CHECKED]
        on_progress(0, None, "queries")
        hold_queries(engine, [query.text for query in (*train, *checked)])
        texts = PassageTexts(engine.snapshot)
        lists, checked_lists = (
            _lists(engine, some, place / name, settings, on_progress)
            for some, name in ((train, CANDIDATES), (checked, CHECKS))
        )
        asked, passages = [query.text for query in train], live_passages(engine.snapshot)
        teacher: Teacher = (
            Ensemble(engine, asked, lists, settings.teacher)
            if cross_encoder is None
            else CrossEncoded(asked, texts, cross_encoder)
        )
        steps = make_model(
            engine, place, settings.kind, settings.making,
            material=Material(train, lists, texts, passages, teacher, None, vectors(engine, asked)),
            checks=Material(checked, checked_lists, texts, passages),
            seconds=time_left(started, minutes), device=device, on_progress=on_progress,
        )  # fmt: skip
        card = Card(
            name=target.name,
            kind=settings.kind,
            base=base,
            made=(
                f"Adapted without labels: {base} learned from pseudo-queries and an ensemble of "
                "retrievers what matters in one collection of documents (searchlib adapt)."
            ),
            data=_data(engine, source, train, held_out),
            settings={
                **settings_shown(settings.plan),
                "cross-encoder teaches": cross_encoder is not None,
                "steps": steps,
            },
        )
        outcome = finish(
            engine, place, target, card, proving(held_out)[: settings.tested],
            judged=judged, steps=steps, started=started, device=device, on_progress=on_progress,
        )  # fmt: skip
    if work is None and outcome.model is not None:
        shutil.rmtree(place, ignore_errors=True)
    return outcome


def proving(held_out: Sequence[Query]) -> Sequence[Query]:
    """Those held-out queries that say at the end what a model is worth: where there are enough,
    not those that said meanwhile which weights to keep, and flatter them."""
    return held_out[CHECKED:] if len(held_out) >= 2 * CHECKED else held_out


def _manner(cross_encoder: PairScorer) -> list[float]:
    """What a scorer says of two texts, by which it is known again."""
    scores = cross_encoder("a river in the north", ["Rivers flow.", "Bread is baked in ovens."])
    return [round(float(score), 3) for score in scores]


def _check(settings: AdaptSettings) -> None:
    """Raise BadQuery for steps that make no sense."""
    making = settings.making
    reads = making.reading is not None and making.reading.steps > 0
    if reads and settings.kind != "sparse":
        raise BadQuery(
            "only a sparse model can guess hidden words; a dense one has no reading steps"
        )
    if not reads and not making.training.steps:
        raise BadQuery("no steps and no reading steps: nothing to do")


def time_left(started: float, minutes: float | None) -> float | None:
    """Seconds left to train in, of `minutes` since `started`; a sixth is kept to judge in."""
    if minutes is None:
        return None
    return max(1.0, minutes * 60 * 5 / 6 - (time.monotonic() - started))


def settings_shown(plan: dict[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested settings as one table: `pairs.most`, `training.steps`, ..."""
    shown: dict[str, Value] = {}
    for key, value in plan.items():
        if isinstance(value, dict):
            shown |= settings_shown(value, f"{prefix}{key}.")
        else:
            plain = value is None or isinstance(value, str | int | float | bool)
            shown[prefix + key] = value if plain else ", ".join(map(str, value))
    return shown


def _queries(
    engine: Searching,
    work: Path,
    settings: AdaptSettings,
    given: Sequence[PseudoQuery],
    on_progress: Progress,
) -> tuple[list[PseudoQuery], list[PseudoQuery]]:
    """(to train on, held out); those that a user gave are trained on."""

    def make() -> list[PseudoQuery]:
        on_progress(0, None, "pseudo-queries")
        words = Analyzer(engine.settings.language)
        return make_queries(lambda: documents_of(engine.snapshot), settings.pairs, words)

    own = once(work / QUERIES, make, write_pairs, read_pairs)
    train, held_out = split_by_document(own, settings.pairs.held_out, settings.pairs.seed)
    if not held_out:
        raise BadInput(
            f"{engine.path}: all {len(own)} pseudo-queries are of one document; an adaptation "
            "needs several documents, to hold some out"
        )
    room = max(0, settings.pairs.most - len(given))
    return [*given, *train[:room]], held_out


def _lists(
    engine: Searching,
    queries: Sequence[PseudoQuery],
    path: Path,
    settings: AdaptSettings,
    on_progress: Progress,
) -> CandidateLists:
    """The queries' candidates, mined once."""
    return once(
        path,
        lambda: mine(engine, queries, settings.mining, on_progress=on_progress),
        write_lists,
        read_lists,
    )


def vectors(engine: Searching, queries: Sequence[str]) -> Floats | None:
    """The queries' dense vectors (n, dim), where the index has a dense model."""
    if "dense" not in engine.snapshot.fields:
        return None
    scorer = engine.retriever("dense")
    assert isinstance(scorer, FieldRetriever)
    found = scorer.queries.encode(queries)
    assert isinstance(found, np.ndarray)
    return found


def _data(
    engine: Searching,
    source: Source,
    train: Sequence[PseudoQuery],
    held_out: Sequence[PseudoQuery],
) -> dict[str, Value]:
    kinds = Counter(query.kind for query in train)
    return {
        "documents of": source.name,
        "documents": engine.snapshot.n_documents,
        "passages": engine.snapshot.n_passages,
        **{f"pseudo-queries: {kind}": number for kind, number in kinds.items()},
        "held-out pseudo-queries": len(held_out),
        "judgements used in training": "none",
    }
