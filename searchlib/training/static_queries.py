"""Query vectors without a network: one a word-piece, learned from what a dense model makes.

Texts are a corpus's passages, and short runs of their words, as queries are: every third behind
the beginning of a question. The vectors begin as ridge regression has them (`distill`), or as
those of a table that is there, and are trained until the normalised mean of a text's points where
the model's vector does, both seen from the corpus's mean, which tells no documents apart (cosine,
Adam). At last numbers are rounded to four bits (`nibbles`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..encoders.dense import DenseEncoder
from ..encoders.models import QUERIES_DEFAULT
from ..encoders.nibbles import Nibbles
from ..encoders.pooling import normalize
from ..encoders.static_queries import CONFIG, static_queries, vocabulary_hash
from ..encoders.tokenizing import Ids, Tokenizer
from ..errors import BadInput, check_seed
from ..indexing import no_progress
from ..protocols import Progress
from ..searching import Searching
from .apart import grouped, held_apart
from .blending import lasting_name
from .corpus import index_sample
from .distill import Array, Sample, bags, encode_all, prior, ridge
from .new_folder import must_be_free, new_folder
from .static_model import WEIGHTS, token_texts

BEGINNINGS = (
    "what is", "what are", "how to", "how does", "how do", "why is", "who", "when did", "where is",
    "which", "does", "is", "can", "the role of", "effects of", "what causes", "difference between",
    "relationship between", "information on", "use of",
)  # fmt: skip
"""Of questions and topics, in English."""
LONGEST = 14  # words of a run
HELD_OUT = 0.02  # of the passages, with the runs cut from them
BATCH = 512
RATE = 3e-3  # falling to 0


@dataclass(frozen=True)
class Plan:
    """How much is learned from: passages and runs of words, so many times."""

    sample: int = 20_000  # passages, at most
    runs: int = 20_000
    epochs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, least in (("sample", 10), ("runs", 1), ("epochs", 1)):
            value = getattr(self, name)
            if value < least:
                raise BadInput(f"illegal {name} value: {value}, must be {least} or more")


@dataclass(frozen=True)
class Report:
    """What was made, and how near it comes to the model."""

    model: str
    dense: str
    passages: int
    runs: int  # of words
    cosine: float  # mean, on texts held out, of the centred vectors
    before: float  # the same of the vectors that training began with


@dataclass(frozen=True)
class Lessons:
    """Texts as pieces, at least one each, with the model's vectors and the corpus's mean.

    `passages` (n,): which passage each is, or was cut from; copies are one.
    """

    pieces: list[Ids]
    vectors: Array
    passages: NDArray[np.int64]
    mean: Array

    def some(self, rows: NDArray[np.int64]) -> Lessons:
        """Of some of the texts."""
        pieces = [self.pieces[row] for row in rows]
        return Lessons(pieces, self.vectors[rows], self.passages[rows], self.mean)

    def split(self, seed: int) -> tuple[Lessons, Lessons]:
        """Those of a few passages, to be held out, and all others; some on either side."""
        held = held_apart(self.passages, HELD_OUT, seed)
        return self.some(np.flatnonzero(held)), self.some(np.flatnonzero(~held))

    def cosine(self, table: Array) -> float:
        """Mean cosine of what a table makes of the texts to the model's vectors, centred."""
        found = normalize(bags(self.pieces, len(table)) @ table)
        cosines = normalize(found - self.mean) * normalize(self.vectors - self.mean)
        return float(cosines.sum(axis=1).mean())


def runs_of_words(texts: Sequence[str], count: int, seed: int) -> list[tuple[int, str]]:
    """`count` runs of 1 to 14 words, as queries are, each with the number of its text; every third
    begins like a question."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        text = rng.randrange(len(texts))
        words = texts[text].split()
        first = 0 if rng.random() < 1 / 3 else rng.randrange(max(1, len(words) - 3))
        run = " ".join(words[first : first + rng.randint(1, LONGEST)])
        made.append((text, f"{rng.choice(BEGINNINGS)} {run}" if number % 3 == 2 else run))
    return made


def fit_index(
    engine: Searching,
    folder: Path,
    plan: Plan = Plan(),
    *,
    from_scratch: bool = False,
    any_version: bool = False,
    device: str | None = None,
    on_progress: Progress = no_progress,
) -> Report:
    """Writes a table of query vectors for an index's dense model into a new folder.

    It begins with the table that comes with searchlib where that is for the index's dense model,
    unless `from_scratch`. It serves that very model, or `any_version` of that name.

    Raises BadInput where `folder` is there, or the index has no dense vectors or fewer than 10
    passages; ModelMismatch where its model has become another; ModelNotFound, UnsupportedModel,
    StorageFailed.
    """
    must_be_free(folder)
    name = engine.settings.dense_model
    if name is None:
        raise BadInput(f"{engine.path} has no dense vectors to learn from")
    teacher = DenseEncoder(lasting_name(name), device)
    tokenizer = teacher.tokenizer
    sample = index_sample(engine, plan.sample, plan.seed)
    lessons = lessons_of(sample, teacher, plan, on_progress)
    held, rest = lessons.split(plan.seed)
    if not rest.pieces:
        raise BadInput(f"the passages of {engine.path} are copies of one; give it others")
    begin = None if from_scratch else static_queries(QUERIES_DEFAULT, name)
    if begin is not None:
        table = begin.matrix()
    else:
        table = first(rest, encode_all(teacher, token_texts(tokenizer), on_progress), tokenizer)
    before = held.cosine(table)
    made = Nibbles.of(trained(rest, table, plan, on_progress))
    after = held.cosine(made.matrix())
    report = Report(str(folder), teacher.name, len(sample.texts), plan.runs, after, before)
    fingerprint = engine.snapshot.fields["dense"].encoder["fingerprint"]
    config = {
        "dense": teacher.name,
        "dense_fingerprint": None if any_version else fingerprint,
        "vocabulary": vocabulary_hash(tokenizer),
        "dimension": made.dim,
        "plan": asdict(plan),
    }
    with new_folder(folder) as filled:
        save_file(made.tensors, str(filled / WEIGHTS))
        (filled / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        (filled / "README.md").write_text(_card(report, plan), encoding="utf-8")
    return report


def lessons_of(sample: Sample, teacher: DenseEncoder, plan: Plan, on_progress: Progress) -> Lessons:
    """Passages with their vectors, and runs of their words with what the model makes of them."""
    assert sample.vectors is not None
    runs = runs_of_words(sample.texts, plan.runs, plan.seed)
    short = [run for _, run in runs]
    distinct = grouped(sample.texts, range(len(sample.texts)))
    passages = distinct[[*range(len(sample.texts)), *(text for text, _ in runs)]]
    vectors = np.concatenate([sample.vectors, encode_all(teacher, short, on_progress)])
    pieces = teacher.tokenizer.plain_words([*sample.texts, *short])
    filled = np.array([len(ids) > 0 for ids in pieces])
    some = [ids for ids in pieces if len(ids)]
    return Lessons(some, vectors[filled], passages[filled], sample.vectors.mean(axis=0))


def first(lessons: Lessons, alone: Array, tokenizer: Tokenizer) -> Array:
    """Ridge regression's vectors of the pieces that occur; the others as they are alone."""
    rows = bags(lessons.pieces, tokenizer.size)
    counts = np.asarray(rows.sum(axis=0)).ravel()
    table = prior(alone, counts)
    used = np.flatnonzero(counts)
    table[used] = ridge(rows[:, used], lessons.vectors - lessons.mean, table[used])
    made: Array = table + lessons.mean
    return made


def trained(lessons: Lessons, table: Array, plan: Plan, on_progress: Progress) -> Array:
    """The table after so many epochs (EmbeddingBag's means, Adam)."""
    import torch
    from torch.nn import functional

    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    vectors = torch.nn.EmbeddingBag(*table.shape, mode="mean", _weight=torch.tensor(table))
    optimiser = torch.optim.Adam(vectors.parameters(), lr=RATE)
    mean, size = torch.tensor(lessons.mean), len(lessons.pieces)
    batch = min(BATCH, size)
    steps, step = plan.epochs * (size // batch), 0
    for _ in range(plan.epochs):
        order = rng.permutation(size)
        for start in range(0, size - batch + 1, batch):
            some = lessons.some(order[start : start + batch])
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            found = functional.normalize(vectors(*_flat(some.pieces)), dim=1) - mean
            wanted = torch.from_numpy(some.vectors) - mean
            loss = 1 - functional.cosine_similarity(found, wanted).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimiser.step()
            step += 1
            on_progress(step * batch, steps * batch, f"cosine {1 - float(loss.detach()):.3f}")
    made: Array = vectors.weight.detach().numpy()
    return made


def _flat(pieces: Sequence[Ids]) -> tuple[Any, Any]:
    """Pieces as EmbeddingBag takes them: all of them, and where each text's begin."""
    import torch

    lengths = [len(ids) for ids in pieces]
    flat = np.concatenate(pieces).astype(np.int64)
    return torch.from_numpy(flat), torch.from_numpy(np.cumsum([0, *lengths[:-1]]))


def _card(report: Report, plan: Plan) -> str:
    lines = [
        "---",
        "tags: [static-embeddings, queries, searchlib]",
        "---",
        "",
        f"# Vectors of queries for {report.dense}, without running it",
        "",
        "One vector a word-piece; a query's is the normalised mean of its pieces'. Documents keep",
        "the model's own vectors. searchlib's retrievers `static`, `lookup` and `instant` use it.",
        "",
        f"- fitted by `searchlib glance` to {report.passages:,} passages and {report.runs:,} runs "
        f"of their words, {plan.epochs} epochs, seed {plan.seed}; no labels",
        "- numbers have four bits, and each piece a scale",
        f"- on {HELD_OUT:.0%} of these passages and their runs, held out, its mean cosine to the "
        "model's vectors "
        f"(both without the corpus's mean) is {report.cosine:.3f}; of the vectors that training "
        f"began with {report.before:.3f}",
        "- whether answers get better, these figures do not say; `searchlib eval` with judged "
        "queries does",
    ]
    return "\n".join([*lines, ""])
