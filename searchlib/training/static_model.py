"""Static models as folders: made of a dense model or of word vectors, for one corpus.

A folder opens in searchlib (`--dense-model FOLDER`), sentence-transformers and model2vec.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.dense import DenseEncoder
from ..encoders.static import LONGEST
from ..encoders.tokenizing import TOGETHER, Tokenizer
from ..errors import BadInput, UnsupportedModel, check_seed
from ..indexing import no_progress
from ..protocols import Progress
from .distill import RIDGE, SIF, Array, Sample, bags, encode_all, fit, prior
from .new_folder import must_be_free, new_folder

WORDS = 0
"""Whole words that a model's vocabulary gets besides, unless asked for."""
RARE = 3  # passages a word must be in to become a token
SPECIAL = ("[PAD]", "[UNK]")
TOKENIZER, WEIGHTS = "tokenizer.json", "model.safetensors"


@dataclass(frozen=True)
class Report:
    """What was made, and how good it is."""

    model: str
    tokens: int
    words: int  # of the tokens, those that a model's own vocabulary lacks
    dimension: int
    passages: int  # that were fitted
    cosine: float | None  # to the model's vectors, on passages held out; None: too few, or no model
    neighbours: float | None  # share of the model's 10 nearest passages that are ours too
    known: float | None = None  # share of the passages' words that have a vector; None of a model


def distill_model(
    sample: Sample,
    model: str,
    folder: Path,
    *,
    dimension: int | None = None,
    words: int = WORDS,
    seed: int = 0,
    device: str | None = None,
    alone: Array | None = None,
    on_progress: Progress = no_progress,
) -> Report:
    """Writes static vectors that do for a corpus what a dense model does, into a new folder.

    `dimension`: fewer numbers a vector (PCA), None: as many as the model's. `words`: so many of
    the words that the model cuts up, the most frequent, become tokens. `alone`: what the model
    makes of `token_texts`, if that is known.

    Raises BadInput where `folder` is there, or a number makes no sense; ModelNotFound,
    UnsupportedModel, StorageFailed.
    """
    must_be_free(folder)
    teacher = DenseEncoder(model, device)
    _check("dimension", dimension, 2, teacher.dimension)
    _check("words", words, 0, 1_000_000)
    check_seed(seed)
    with new_folder(folder) as made:
        settings = teacher.tokenizer.to_json()
        texts = sample.texts
        extra = _add_words(settings, teacher.tokenizer, texts, words)
        (made / TOKENIZER).write_text(json.dumps(settings), encoding="utf-8")
        tokenizer = Tokenizer(made, LONGEST)
        rows = bags(_known(tokenizer, texts), tokenizer.size)
        targets = sample.encoded(teacher, on_progress).vectors
        assert targets is not None
        if alone is None:
            alone = encode_all(teacher, token_texts(tokenizer), on_progress)
        if len(alone) != tokenizer.size:
            raise BadInput(f"{len(alone)} vectors for {tokenizer.size} tokens")
        begun = prior(alone, np.asarray(rows.sum(axis=0)).ravel())
        fitted = fit(rows, targets, begun, seed, sample.documents, dimension=dimension)
        vectors = fitted.vectors
        vectors[tokenizer.special_ids] = 0  # subtle: some readers leave [UNK] out, some add it
        report = Report(
            str(folder), len(vectors), extra, vectors.shape[1], len(texts), fitted.cosine,
            fitted.neighbours,
        )  # fmt: skip
        _write(made, vectors, report, {"base_model": model, "seed": seed, "ridge": RIDGE})
    return report


def distill_vectors(
    sample: Sample, words: list[str], vectors: Array, folder: Path, source: str
) -> Report:
    """Writes word vectors as a static model, weighted by the corpus's frequencies (SIF).

    `source`: what the file is called. Raises BadInput where `folder` is there, or no word of the
    sample has a vector; StorageFailed.
    """
    must_be_free(folder)
    with new_folder(folder) as made:
        named = [word for word in words if word not in SPECIAL]
        kept = np.array([word not in SPECIAL for word in words])
        (made / TOKENIZER).write_text(json.dumps(_word_level(named)), encoding="utf-8")
        tokenizer = Tokenizer(made, LONGEST)
        known = _share_known(tokenizer, sample.texts)
        if not known:
            raise BadInput(
                f"{source} has a vector of no word of the texts (its words: "
                f"{', '.join(map(repr, named[:3]))}); capitals count where it has any, texts are "
                "cut at spaces, '-' and '_', and the language must be the same"
            )
        rows = bags(_known(tokenizer, sample.texts), tokenizer.size)
        blank = np.zeros((len(SPECIAL), vectors.shape[1]), np.float32)
        frequency = np.asarray(rows.sum(axis=0)).ravel()
        table = prior(np.concatenate([blank, vectors[kept]]), frequency)
        table[tokenizer.special_ids] = 0
        report = Report(
            str(folder), len(table), 0, table.shape[1], len(sample.texts), None, None, known
        )
        _write(made, table, report, {"vectors": source})
    return report


def _known(tokenizer: Tokenizer, texts: list[str]) -> list[NDArray[np.int32]]:
    """The tokens of each text, without special ones (unknown words)."""
    found = tokenizer.plain_words(texts)
    if max((int(ids.max()) for ids in found if len(ids)), default=0) >= tokenizer.size:
        raise UnsupportedModel("the tokenizer's numbers have holes; it cannot become a table")
    return found


def _share_known(tokenizer: Tokenizer, texts: list[str]) -> float:
    """How many of the texts' words, as they stand, are no unknown ones; signs do not count."""
    special = set(tokenizer.special_ids)
    words = known = 0
    for start in range(0, len(texts), TOGETHER):
        some = texts[start : start + TOGETHER]
        for text, found in zip(some, tokenizer.cut_words(some), strict=True):
            for word in found:
                if any(map(str.isalnum, text[word.start : word.end])):
                    words += 1
                    known += special.isdisjoint(word.ids)
    return known / max(words, 1)


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Each token as a text of its own."""
    marks = "\u0120\u2581"  # of a space before, in byte-level and SentencePiece vocabularies
    return [tokenizer.term(id).removeprefix("##").strip(marks) for id in range(tokenizer.size)]


def _add_words(settings: dict[str, Any], tokenizer: Tokenizer, texts: list[str], most: int) -> int:
    """Puts the most frequent words that are cut up into the settings of a WordPiece tokenizer."""
    model = settings["model"]
    if model["type"] != "WordPiece" or not most:
        return 0
    frequency: Counter[tuple[int, ...]] = Counter()
    for words in tokenizer.cut_words(texts):
        frequency.update({tuple(word.ids) for word in words if len(word.ids) > 1})
    vocabulary, found = model["vocab"], []
    for ids, count in frequency.most_common(most):
        # subtle: pieces put together are the word as the tokenizer's own normaliser leaves it
        word = "".join(tokenizer.term(id).removeprefix("##") for id in ids)
        if count >= RARE and word not in vocabulary:
            found.append(word)
    first = max([tokenizer.size - 1, *vocabulary.values()]) + 1
    vocabulary.update({word: first + place for place, word in enumerate(found)})
    return len(found)


def _word_level(words: list[str]) -> dict[str, Any]:
    """The settings of a tokenizer that knows these words, in lower case if they all are."""
    from tokenizers import Tokenizer as Made
    from tokenizers import models, normalizers, pre_tokenizers

    vocabulary = {word: id for id, word in enumerate([*SPECIAL, *words])}
    made = Made(models.WordLevel(vocabulary, unk_token="[UNK]"))
    steps: list[Any] = [normalizers.NFC()]
    if all(word == word.lower() for word in words):
        steps.append(normalizers.Lowercase())
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    settings: dict[str, Any] = json.loads(made.to_str())
    return settings


def _write(folder: Path, vectors: Array, report: Report, how: Mapping[str, Any]) -> None:
    """All files but the tokenizer's."""
    from safetensors.numpy import save_file

    save_file({"embeddings": np.ascontiguousarray(vectors, np.float32)}, str(folder / WEIGHTS))
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": report.dimension,
        "normalize": True,
        "seq_length": LONGEST,
        "max_length": None,
        "sif_coefficient": SIF,
        "searchlib": dict(how),
    }
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize",
         "type": "sentence_transformers.models.Normalize"},
    ]  # fmt: skip
    for name, value in (("config.json", config), ("modules.json", modules)):
        (folder / name).write_text(json.dumps(value, indent=1), encoding="utf-8")
    (folder / "README.md").write_text(_card(report, how), encoding="utf-8")


def _card(report: Report, how: Mapping[str, Any]) -> str:
    """The model card."""
    lines = [
        "---",
        "library_name: model2vec",
        "tags: [static-embeddings, sentence-transformers, searchlib]",
        "---",
        "",
        "# Static vectors for one corpus",
        "",
        "A text's vector is the normalised mean of its tokens' vectors; no network is run. Made by",
        "`searchlib distill`: " + ", ".join(f"{name} {value}" for name, value in how.items()) + ".",
        "",
        f"- {report.tokens:,} tokens of {report.dimension} numbers, {_which(report)}",
        f"- {report.passages:,} of the corpus's passages were used, weights by SIF (a = {SIF})",
    ]
    if report.known is None:
        lines += [
            f"- on passages of a tenth of the documents, held out: {seen(report)}",
            "",
            "Vectors were fitted to what the model makes of these passages (ridge regression): "
            "on other text they are worse.",
        ]
    return "\n".join([*lines, ""])


def _which(report: Report) -> str:
    """Where the tokens are from, for the card."""
    if report.known is None:
        return f"{report.words:,} of them words added for the corpus"
    return f"the file's words; {report.known:.1%} of the words in the corpus's passages have one"


def seen(report: Report) -> str:
    """What the figures of a model's vectors are, in words."""
    if report.cosine is None:
        return "no figure, there are too few distinct texts"
    found = f"cosine {report.cosine:.3f} to the model's (both centred)"
    if report.neighbours is None:
        return found
    return f"{found}, {report.neighbours:.0%} of its 10 nearest passages shared"


def _check(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise BadInput(f"illegal {name} value: {value}, must be between {least} and {most}")
