"""Cross-encoders: query and passage are read as one text. Nogueira and Cho 2019 (arXiv:1901.04085).

Any Hugging Face ...ForSequenceClassification folder whose labels say which one is "relevant".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, UnsupportedModel
from .backbone import allowed_tokens
from .layout import (
    Transformer,
    check_ids,
    check_sizes,
    default_prompt,
    read_modules,
    read_transformer,
)
from .models import ModelFolder, resolve
from .tokenizer_files import gives_types
from .tokenizing import PairTokenizer
from .weights import read_json, sense

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network

RELEVANT = ("relevant", "true", "yes", "positive", "entailment", "label_1")
"""What a label is called that means "this text answers", in any case of letters."""

MOST_LABELS = 1000


class CrossEncoder:
    """Scores texts for a query by a classifier that reads both.

    `model`: a folder, or a name (see `models.resolve`). `device`: as for DenseEncoder.
    `max_tokens`: pairs are cut there, the longer of the two texts first; by default, and at most,
    where the model says. Nothing is read before first use; then torch is loaded.

    With one label a score is its logit. With more it is the log-odds of the label that means
    relevant, the only one called "relevant", "true", "yes", "positive", "entailment" or
    "LABEL_1" (so of two without names the second); where no label or several are called so, the
    model is refused.

    Raises ModelNotFound, UnsupportedModel at first use.

    >>> CrossEncoder("my-reranker").score("what do plants eat", ["Light."])  # doctest: +SKIP
    array([4.7], dtype=float32)
    """

    def __init__(
        self, model: str | Path, device: str | None = None, max_tokens: int | None = None
    ) -> None:
        self.name = str(model)
        self._device = device
        self._max_tokens = max_tokens

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """How relevant each text is for the query, (n,) float32, any real number."""
        if isinstance(texts, str):
            raise BadInput("texts must be a list of strings, not one string; write [text]")
        scores = np.zeros(len(texts), np.float32)
        with sense(self.folder.path):
            labels, network = self._labels, self._network  # know best what is wrong with a folder
            relevant = relevant_label(labels, self._path)
            pairs = self._tokenizer.encode(self._prompt + query, texts)
            tokens = [ids for ids, _ in pairs]
            check_ids(self._path, tokens, self._transformer.vocabulary, self._tokenizer.size)
            types = [kinds for _, kinds in pairs] if self._typed else None
            for rows, logits in network.run(tokens, _logits, types):
                scores[rows] = log_odds(logits, relevant)
            if not np.isfinite(scores).all():
                raise ValueError("it gives scores that are not numbers")
        return scores

    @cached_property
    def folder(self) -> ModelFolder:
        """Where the model's files are."""
        return resolve(self.name)

    @cached_property
    def max_tokens(self) -> int:
        """Tokens a pair is cut to, special ones included."""
        with sense(self._path):
            return allowed_tokens(self._max_tokens, self._transformer.max_tokens, self.name)

    @cached_property
    def _transformer(self) -> Transformer:
        return read_transformer(self._path)

    @cached_property
    def _path(self) -> Path:
        """Where the classifier itself is; sentence-transformers may put it into a folder."""
        folder = self.folder.path
        if not (folder / "modules.json").is_file():
            return folder
        modules = read_modules(folder)
        if [kind for kind, _ in modules] != ["Transformer"]:
            kinds = ", ".join(kind for kind, _ in modules) or "nothing"
            raise UnsupportedModel(
                f"{folder} is made of {kinds}; a cross-encoder is one Transformer, a sequence"
                " classifier"
            )
        return modules[0][1]

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self._path / "config.json"
        if not path.is_file():
            raise UnsupportedModel(f"{self._path} has no config.json: it is no Hugging Face model")
        return read_json(path)

    @cached_property
    def _labels(self) -> dict[int, str]:
        """What each label is called."""
        with sense(self._path / "config.json"):
            names = self._config.get("id2label")
            count = self._config.get("num_labels", 2 if names is None else len(names))
            if not (type(count) is int and 1 <= count <= MOST_LABELS):
                raise ValueError(f"{count!r} labels")
            if names is None:  # as transformers has it
                return {i: f"LABEL_{i}" for i in range(count)}
            return {int(number): str(name) for number, name in names.items()}

    @cached_property
    def _typed(self) -> bool:
        """Whether tokenizer and model tell the tokens of query and text apart by types."""
        return int(self._config.get("type_vocab_size") or 0) > 1 and gives_types(self._path)

    @cached_property
    def _prompt(self) -> str:
        """What goes before queries; of a folder without modules nobody reads it."""
        folder = self.folder.path
        return default_prompt(folder) if (folder / "modules.json").is_file() else ""

    @cached_property
    def _tokenizer(self) -> PairTokenizer:
        return PairTokenizer(self._path, self.max_tokens)

    @cached_property
    def _network(self) -> Network:
        made = [str(name) for name in self._config.get("architectures") or []]
        if made and not any("SequenceClassification" in name for name in made):
            raise UnsupportedModel(
                f"{self._path} is no cross-encoder: it is a {made[0]}, not a"
                " ...ForSequenceClassification"
            )
        from .network import Network

        check_sizes(self._path)
        return Network(self._path, "labels", self._device)


def relevant_label(names: Mapping[int, str], path: Path) -> int:
    """Which label's score is wanted (see CrossEncoder).

    >>> relevant_label({0: "contradiction", 1: "entailment", 2: "neutral"}, Path("nli"))
    1
    """
    if len(names) == 1:
        return 0
    found = [number for number, name in names.items() if name.lower() in RELEVANT]
    if len(found) == 1 and (len(names) == 2 or names[found[0]].lower() != "label_1"):
        return found[0]
    raise UnsupportedModel(
        f"{path} has the labels {', '.join(names.values())}: which one means relevant? A"
        " cross-encoder has one label, or one that is called relevant (true, yes, positive,"
        " entailment), or two; name them in id2label of its config.json"
    )


def log_odds(logits: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    """log p / (1 - p) of a label's softmax, (n,), from logits (n, labels); of one its logit.

    >>> log_odds(np.array([[1.0, 3.0]], np.float32), 1).tolist()
    [2.0]
    """
    own = logits[:, label]
    others = np.delete(logits, label, axis=1)
    if not others.shape[1]:
        return own
    largest = others.max(axis=1)
    rest = largest + np.log(np.exp(others - largest[:, np.newaxis]).sum(axis=1))
    odds: NDArray[np.float32] = own - rest
    return odds


def _logits(worker: int, logits: Tensor, lengths: list[int]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logits.float().cpu().numpy()
    return found
