"""What is learned from without training: the texts of an index, a sample of its passages."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from indexes.manifest import MANIFEST

from ..errors import BadInput
from ..passages import passage_text
from ..protocols import Encoder
from ..representations import check_fingerprint, make_encoder
from ..searching import Searching
from .distill import Sample

LONGEST = 1 << 20  # characters of a passage
_BATCH = 512


def is_index(path: Path) -> bool:
    """Whether there is an index in a folder."""
    return (path / MANIFEST).is_file()


def index_encoder(engine: Searching, name: str) -> Encoder:
    """What made the rows of an index's field, "sparse" or "dense".

    Raises ModelMismatch where the model has become another, ModelNotFound, UnsupportedModel.
    """
    encoder = make_encoder(name, engine.settings, None)
    check_fingerprint(engine.snapshot.fields[name], encoder)
    return encoder


def index_texts(engine: Searching) -> Iterator[str]:
    """Title and text of every document of an index."""
    snapshot = engine.snapshot
    ids = list(snapshot.all_ids())
    for start in range(0, len(ids), _BATCH):
        for record in snapshot.records(snapshot.lookup(ids[start : start + _BATCH])):
            yield passage_text(record.title, record.text)


def index_sample(engine: Searching, size: int, seed: int) -> Sample:
    """`size` passages of an index, each as likely as any other, with their dense vectors.

    Raises BadInput where fewer than 10 passages are there, or no dense vectors; ModelMismatch
    where these are not of the index's model as it is now.
    """
    snapshot = engine.snapshot
    if "dense" not in snapshot.fields:
        raise BadInput(f"{engine.path} has no dense vectors to learn from; give its documents")
    index_encoder(engine, "dense")
    firsts, counts = snapshot.passages_of_each(snapshot.lookup(list(snapshot.all_ids())))
    starts = np.repeat(firsts - np.cumsum(counts) + counts, counts)
    passages = starts + np.arange(int(counts.sum()))
    if len(passages) < 10:
        raise BadInput(f"{engine.path} has {len(passages)} passages; 10 are the least to learn of")
    rows = random.Random(seed).sample(range(len(passages)), min(size, len(passages)))
    ids = np.sort(passages[rows])
    texts = [
        passage_text(found.title, found.text[: found.end - found.start])
        for found in snapshot.excerpts(ids, LONGEST)
    ]
    vectors = snapshot.stored_rows("dense", ids)
    assert isinstance(vectors, np.ndarray)
    return Sample(texts, np.asarray(vectors, np.float32), snapshot.documents_of(ids))
