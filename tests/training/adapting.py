"""A corpus that tiny models can learn from, and settings with which that takes seconds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TypeVar

from tiny_models import WORDS

from searchlib import Document
from searchlib.training.adapt import AdaptSettings
from searchlib.training.drawing import DrawSettings
from searchlib.training.finetune import FinetuneSettings
from searchlib.training.loop import TrainingSettings
from searchlib.training.making import MakingSettings
from searchlib.training.mining import MiningSettings

NOUNS = [word for word in WORDS if word.isalpha() and len(word) > 2]
MAKING = MakingSettings(
    training=TrainingSettings(steps=6, learning_rate=1e-3, checkpoint_every=2, evaluate_every=3),
    drawing=DrawSettings(queries=4, documents=8),
)
MINING = MiningSettings(candidates=8, depth=5, random=2, background=20)

Some = TypeVar("Some", AdaptSettings, FinetuneSettings)


def corpus_of(count: int, seed: int = 0) -> list[Document]:
    """Documents of three sentences each, of words that the tiny models know."""
    rng = random.Random(seed)
    documents = []
    for number in range(count):
        topic = rng.sample(NOUNS, 6)
        sentences = [" ".join(rng.choices(topic, k=6)).capitalize() + "." for _ in range(3)]
        title = " ".join(topic[:2]).title()
        documents.append(Document(f"d{number}", " ".join(sentences), title))
    return documents


def small(settings: Some) -> Some:
    """The settings with few queries, candidates and steps."""
    settings = replace(settings, making=MAKING, mining=MINING)
    if isinstance(settings, AdaptSettings):
        return replace(settings, pairs=replace(settings.pairs, most=60, held_out=0.2))
    return settings
