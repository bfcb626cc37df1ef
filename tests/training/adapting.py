"""A corpus that tiny models can learn from, and what adaptations of it share."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tiny_models import WORDS

NOUNS = [word for word in WORDS if word.isalpha() and len(word) > 2]


def write_corpus(path: Path, count: int = 40, seed: int = 0) -> Path:
    """Documents of three sentences each, of words that the tiny models know."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        topic = rng.sample(NOUNS, 6)
        sentences = [" ".join(rng.choices(topic, k=6)).capitalize() + "." for _ in range(3)]
        title = " ".join(topic[:2]).title()
        lines.append({"id": f"d{number}", "title": title, "text": " ".join(sentences)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
