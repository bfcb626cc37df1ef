"""What a model is trained on: an index that is there, or one made of a corpus for the purpose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from indexes.errors import NoIndex

from ..config import Settings
from ..encoders.models import resolve
from ..encoders.static import is_static
from ..engine import Engine
from ..errors import BadInput, UnsupportedModel
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from ..types import Document

Kind = Literal["sparse", "dense"]
INDEX = "corpus.index"  # in the work folder


@dataclass(frozen=True)
class Corpus:
    """Documents that are in no index yet, each with where it stands ("file:line").

    `settings`: of the index that is made of them; its models are the one to be trained and those
    that teach.
    """

    name: str
    documents: Iterable[tuple[Document, str]]
    settings: Settings = field(default_factory=Settings)
    total: int | None = None  # how many there are, about


Source = Path | Corpus


@contextmanager
def opened(
    source: Source, work: Path, device: str | None = None, on_progress: Progress = no_progress
) -> Iterator[Searching]:
    """The index of the source; a corpus is indexed in the work folder, going on if it was begun.

    Raises NoIndex, BadInput, and what indexing raises.
    """
    if isinstance(source, Path):
        with Searching.open(source, device=device) as engine:
            yield engine
        return
    path = work / INDEX
    try:
        index = Engine.open(path, device=device)
    except NoIndex:
        index = Engine.create(path, source.settings, device=device)
    with index:
        if index.settings != source.settings.resolved():
            raise BadInput(f"{path} was made with other models or settings; remove {work}")
        index.add(source.documents, on_progress=on_progress, total=source.total)
        yield index


def model_of(engine: Searching, kind: Kind) -> str:
    """The name of the index's sparse or dense model, which is to be trained.

    Raises BadInput if it was made without one, UnsupportedModel for static vectors.
    """
    model = engine.settings.sparse_model if kind == "sparse" else engine.settings.dense_model
    if model is None or kind not in engine.snapshot.fields:
        raise BadInput(
            f"{engine.path} was made without {kind} vectors, so there is no {kind} model to train"
        )
    if kind == "dense" and is_static(resolve(model).path):
        raise UnsupportedModel(
            f"{model} holds static vectors, one a token, which cannot be trained: train a model "
            "with a network and make static vectors of that (`searchlib distill`), or train the "
            "index's sparse model (--kind sparse)"
        )
    return model


def identity(engine: Searching) -> dict[str, Any]:
    """What tells that an index is the same as when a training began: JSON values."""
    snapshot = engine.snapshot
    fields = {name: spec.encoder["fingerprint"] for name, spec in snapshot.fields.items()}
    return {"generation": snapshot.generation, "created": snapshot.created, **fields}
