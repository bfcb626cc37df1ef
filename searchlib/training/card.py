"""The model card: a README.md that says what a model was trained on, how, and what it gained.

It says what opens the folder: where searchlib adds something to a model that other readers leave
out, theirs is not the model that was judged. Front matter as Hugging Face reads it (YAML; values
are written as JSON, which YAML includes).
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ..evaluation.compare import Comparison

_PACKAGES = ("searchlib", "torch", "transformers", "tokenizers", "numpy")
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Judgement:
    """After against before, by one measure on one set of queries."""

    queries: str  # what they are: "held-out pseudo-queries", "qrels test.tsv"
    measure: str  # nDCG@10
    comparison: Comparison  # a is after, b is before

    @property
    def better(self) -> bool:
        """Whether the gain is one, and not luck: p < 0.05."""
        return self.comparison.difference > 0 and self.comparison.p < 0.05

    @property
    def worse(self) -> bool:
        """Whether there is a loss that is not luck."""
        return self.comparison.difference < 0 and self.comparison.p < 0.05


@dataclass(frozen=True)
class Additions:
    """What a sparse model's folder holds that searchlib alone applies.

    `gains`: factors of query terms. `blend`: what a dense model adds. `weights`: whether the model
    that these are added to is in the folder, not only named there.
    """

    gains: bool = False
    blend: bool = False
    weights: bool = True

    @property
    def any(self) -> bool:
        """Whether there is something that other readers leave out."""
        return self.gains or self.blend

    def text(self) -> str:
        """What opens the folder, and what it then lacks."""
        parts = []
        if self.gains:
            parts.append("`gains/` (a factor of each query term)")
        if self.blend:
            parts.append("`blend/` (terms that a dense model adds, which `blend.json` names)")
        lines = [f"Only searchlib applies what is in {' and '.join(parts)}."]
        if self.weights:
            lines.append(
                "Other readers, sentence-transformers among them, open the folder as a model "
                "without it: not the one that is judged below."
            )
        else:
            lines.append(
                "The folder has no weights of its own: searchlib runs the models that are named "
                "there, and other readers cannot open it."
            )
        return " ".join(lines) + "\n"


@dataclass(frozen=True)
class Card:
    """All that the card says."""

    name: str
    kind: Literal["sparse", "dense"]
    base: str  # the model that training began from
    made: str  # how, in one sentence
    data: Mapping[str, Value] = field(default_factory=dict)
    settings: Mapping[str, Value] = field(default_factory=dict)  # steps, hyper-parameters, seeds
    judgements: tuple[Judgement, ...] = ()
    additions: Additions = Additions()

    def text(self) -> str:
        """The README.md."""
        sparse = self.kind == "sparse"
        tags = ["sparse-encoder", "splade"] if sparse else ["sentence-similarity"]
        others = [] if self.additions.any else ["sentence-transformers"]
        library = {} if self.additions.any else {"library_name": "sentence-transformers"}
        matter = {
            **library,
            "pipeline_tag": "feature-extraction" if sparse else "sentence-similarity",
            "base_model": self.base,
            "tags": [*others, *tags, "searchlib"],
        }
        option = f"--{self.kind}-model"
        parts = [
            "---",
            *(f"{key}: {_yaml(value)}" for key, value in matter.items()),
            "---",
            f"\n# {_line(self.name)}\n",
            f"{self.made}\n",
            "## Use\n",
            f"```\nsearchlib reencode my.index {option} {shlex.quote(self.name)}\n```\n",
            self.additions.text() if self.additions.any else self._opener(),
            "## Before and after\n",
            _results(self.judgements),
            "## Data\n",
            _table(self.data),
            "## Settings\n",
            _table(self.settings),
            "## Versions\n",
            _table(versions()),
        ]
        return "\n".join(parts)

    def _opener(self) -> str:
        """How sentence-transformers opens the folder."""
        opener = "SparseEncoder" if self.kind == "sparse" else "SentenceTransformer"
        return (
            f"```python\nfrom sentence_transformers import {opener}\n\n"
            f"model = {opener}({self.name!r})\n```\n"
        )


def versions() -> dict[str, Value]:
    """The versions of what a training rests on."""
    found: dict[str, Value] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _results(judgements: tuple[Judgement, ...]) -> str:
    if not judgements:
        return "Not measured.\n"
    lines = [
        "| queries | number | measure | before | after | difference | 95 % interval | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for judged in judgements:
        c = judged.comparison
        lines.append(
            f"| {_line(judged.queries)} | {c.queries} | {judged.measure} | {c.b:.4f} | {c.a:.4f} "
            f"| {c.difference:+.4f} | {c.low:+.4f} to {c.high:+.4f} | {c.p:.4f} |"
        )
    note = (
        "\np: two-sided, paired randomisation test; interval: bootstrap over queries. "
        "Pseudo-queries are made of the corpus: they show a direction, not what users will see.\n"
    )
    return "\n".join(lines) + "\n" + note


def _table(values: Mapping[str, Value]) -> str:
    if not values:
        return "None.\n"
    lines = ["| | |", "|---|---|"]
    lines += [f"| {_line(name)} | {_line(str(value))} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """A text that stays in its cell of a table, on one line."""
    return " ".join(text.split()).replace("|", "\\|")


def _yaml(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)
