"""The end of a training: is the model better, and if so, a folder with its card and its log."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..config import Settings
from ..encoders.blend_layout import FOLDER as BLEND
from ..encoders.gains import FOLDER as GAINS
from ..engine import Engine
from ..errors import BadInput
from ..evaluation.compare import Comparison
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from .artefacts import undamaged, write_whole
from .card import Additions, Card, Judgement
from .judging import Judged, is_better, judge
from .log import plot_log, read_log
from .new_folder import copy_files, new_folder
from .pairs import PseudoQuery
from .source import Kind, identity
from .work import copy_of_index

CARD, LOG, PLOT = "README.md", "log.jsonl", "plot.png"
READING_LOG = "reading.jsonl"  # of the steps before
MODEL, JUDGEMENTS, AFTER = "model", "judgements.json", "after.index"


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    model: Path | None  # where the new model is; None: it is no better, the old one stays
    judgements: tuple[Judgement, ...]
    steps: int
    seconds: float


def judged_models(
    engine: Searching,
    work: Path,
    kind: Kind,
    queries: Sequence[PseudoQuery],
    *,
    judged: Judged | None = None,
    seed: int = 0,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> tuple[Judgement, ...]:
    """The model in the work folder against that of the index, both over the whole corpus.

    For that the corpus is encoded with the new model in a copy of the index, whose other vectors
    are the index's own. What was found is kept in the work folder. Raises BadInput if the index
    was changed meanwhile: then the two would be measured on different documents.
    """
    path = work / JUDGEMENTS
    if path.is_file():
        return read_judgements(path)
    copy_of_index(engine.folder, work / AFTER)
    with Engine.open(work / AFTER, device=device) as after:
        if identity(after) != identity(engine):
            raise BadInput(
                f"{engine.path} was changed since the training began: remove {work} and begin anew"
            )
        after.reencode(with_model(after.settings, kind, work / MODEL), on_progress=on_progress)
        found = tuple(judge(engine, after, kind, queries, judged=judged, seed=seed))
    write_whole(path, json.dumps([asdict(judgement) for judgement in found], indent=2).encode())
    shutil.rmtree(work / AFTER, ignore_errors=True)
    return found


def finish(
    engine: Searching,
    work: Path,
    target: Path,
    card: Card,
    queries: Sequence[PseudoQuery],
    *,
    judged: Judged | None,
    steps: int,
    started: float,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> Outcome:
    """Judge the work folder's model and, if it is better, put it at `target`.

    Then the work folder's contents go; else they stay. `started`: of `time.monotonic`.
    """
    judgements = judged_models(
        engine, work, card.kind, queries, judged=judged, device=device, on_progress=on_progress
    )
    model = None
    if is_better(judgements):
        publish(work, target, replace(card, judgements=judgements))
        model = target
    return Outcome(model, judgements, steps, time.monotonic() - started)


def read_judgements(path: Path) -> tuple[Judgement, ...]:
    """What `judged_models` kept. Raises BadInput if it is damaged."""
    with undamaged(path):
        values: list[dict[str, Any]] = json.loads(path.read_bytes())
        return tuple(
            Judgement(value["queries"], value["measure"], Comparison(**value["comparison"]))
            for value in values
        )


def publish(work: Path, target: Path, card: Card) -> None:
    """Put the work folder's model at `target`, with its card, log and plot; then it is complete.

    Raises BadInput if there is something at `target`, StorageFailed.
    """
    entries = read_log(work / LOG)
    with new_folder(target) as folder:
        copy_files(work / MODEL, (work / MODEL).rglob("*"), folder)
        card = replace(card, additions=additions_of(folder))
        (folder / CARD).write_text(card.text(), encoding="utf-8")
        if entries:
            shutil.copyfile(work / LOG, folder / LOG)
            plot_log(entries, folder / PLOT)
        if (work / READING_LOG).is_file():
            shutil.copyfile(work / READING_LOG, folder / READING_LOG)


def additions_of(folder: Path) -> Additions:
    """What a model's folder holds that searchlib alone applies."""
    weights = any(folder.rglob("config.json"))
    return Additions((folder / GAINS).is_dir(), (folder / BLEND).is_dir(), weights)


def with_model(settings: Settings, kind: Kind, model: Path) -> Settings:
    """The settings with another sparse or dense model."""
    if kind == "sparse":
        return replace(settings, sparse_model=str(model))
    return replace(settings, dense_model=str(model))
