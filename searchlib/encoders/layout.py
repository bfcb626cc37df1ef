"""What a model folder says about itself: its encoder, modules, prompts and longest input.

Reads sentence-transformers' layout and plain Hugging Face folders. Only files are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedModel
from .tokenizer_files import tokenizer_bytes
from .weights import Weights, read_json, refuse_adapter, sense

if TYPE_CHECKING:
    from .tokenizing import Ids

SETTINGS = "config_sentence_transformers.json"
"""What sentence-transformers says of a whole model."""

# families whose first position is padding_idx + 1, so that many positions are out of use
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "data2vec-text")
# settings of a config that do not change what it computes
_HOUSEKEEPING = (
    "_name_or_path",
    "architectures",
    "dtype",
    "gradient_checkpointing",
    "initializer_range",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
# settings of a config that say how much memory a network takes
_SIZES = (
    *("vocab_size", "hidden_size", "dim", "embedding_size", "intermediate_size", "hidden_dim"),
    *("num_hidden_layers", "n_layers", "num_attention_heads", "n_heads", "type_vocab_size"),
)
# where a folder says how many tokens a text may have
_LONGEST = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
)
LEAST_TOKENS = 3
"""One of a text, and a special one before and after it."""


@dataclass(frozen=True)
class Transformer:
    """A Hugging Face encoder in a folder."""

    path: Path
    max_tokens: int  # special tokens included
    lower: bool  # texts are put in lower case before tokenising
    vocabulary: int | None = None  # ids below it have embeddings, as far as its config says

    def digest(self) -> str:
        """Hash of its weights, tokenizer and configuration."""
        config = dict(read_json(self.path / "config.json"))
        for key in _HOUSEKEEPING:
            config.pop(key, None)
        hasher = hashlib.blake2b(Weights(self.path).digest(), digest_size=16)
        hasher.update(json.dumps(config, sort_keys=True).encode())
        hasher.update(tokenizer_bytes(self.path))
        if self.lower:
            hasher.update(b"lower")
        return hasher.hexdigest()


def read_transformer(path: Path) -> Transformer:
    refuse_adapter(path)
    if not (path / "config.json").is_file():
        raise UnsupportedModel(f"{path} has no config.json: it is no Hugging Face model")
    config = read_json(path / "config.json")
    bert = read_optional(path / "sentence_bert_config.json")
    with sense(path / "config.json"):
        limit = config.get("max_position_embeddings") or 512
        if config.get("model_type") in _SHIFTED:
            limit -= int(config.get("pad_token_id", 1)) + 1
        declared = _declared(path) or limit
        lower, size = bool(bert.get("do_lower_case", False)), config.get("vocab_size")
        vocabulary = size if type(size) is int else None
        return Transformer(path, int(min(declared, limit)), lower, vocabulary)


def _declared(path: Path) -> int | float | None:
    """How many tokens a text may have, as far as a folder says; UnsupportedModel for nonsense."""
    for name, key in _LONGEST:
        value = read_optional(path / name).get(key)
        if not value:
            continue
        if type(value) in (int, float) and value >= LEAST_TOKENS:
            found: int | float = value
            return found
        raise UnsupportedModel(
            f"{path}: {name} has {key} {value!r}; it must be {LEAST_TOKENS} or more, or left out"
        )
    return None


def check_sizes(path: Path) -> None:
    """Raise UnsupportedModel for a config of more layers or larger ones than there are weights.

    Whoever makes a network as the config says would fill the memory with nothing.
    """
    config = read_json(path / "config.json")
    shapes = [array.shape for array in Weights(path).values()]
    most = max([len(shapes), *(size for shape in shapes for size in shape)])
    for key in _SIZES:
        value = config.get(key)
        if value is not None and not (type(value) is int and 0 <= value <= most):
            raise UnsupportedModel(f"{path}: config.json has {key} {value!r}, its weights do not")


def check_ids(path: Path, tokens: Sequence[Ids], known: int | None, size: int) -> None:
    """Raise UnsupportedModel for a token that a model has no embedding for.

    `known`: how many it has; `size`: how many tokens its tokenizer has. More of them may never
    be met.
    """
    for ids in tokens:
        if known is not None and len(ids) and (most := int(ids.max())) >= known:
            raise UnsupportedModel(
                f"{path}: its tokenizer has {size} tokens, its model embeddings for {known}, and "
                f"none for number {most}, which is in a text: they are not of one model"
            )


def read_modules(folder: Path) -> list[tuple[str, Path]]:
    """(class name, folder) of each module, in order."""
    path = folder / "modules.json"
    try:
        entries = json.loads(path.read_bytes())
        return [
            (module_class(folder, entry["type"]), inside(folder, entry["path"]))
            for entry in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnsupportedModel(f"{path} is damaged; get the model anew") from None


def module_class(folder: Path, name: str) -> str:
    """The class's own name; UnsupportedModel where it is none of sentence-transformers'."""
    if not str(name).startswith("sentence_transformers."):
        raise UnsupportedModel(
            f"{folder} has a module of its own, {str(name)[:100]!r}, whose code is not run here; "
            "models of sentence-transformers' own modules can be used"
        )
    last = class_name(name)
    return "Transformer" if last == "MLMTransformer" else last


def class_name(name: str) -> str:
    return str(name).rsplit(".", 1)[-1]


def inside(folder: Path, path: str) -> Path:
    """A path that a model names, below its folder; links are followed, as the hub's cache has."""
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        raise UnsupportedModel(f"{folder} names a module outside itself: {path}")
    return folder / path


def default_prompt(folder: Path) -> str:
    """What goes before texts of which nothing else is said."""
    return _prompts(folder)[1]


def read_prompts(folder: Path) -> tuple[str, str]:
    """What goes before queries and before documents, as encode_query and encode_document do."""
    prompts, default = _prompts(folder)
    with sense(folder / SETTINGS):
        query = prompts.get("query", default)
        named = [prompts[name] for name in ("document", "passage", "corpus") if name in prompts]
        return str(query or ""), str((named[0] if named else default) or "")


def _prompts(folder: Path) -> tuple[dict[str, Any], str]:
    """A model's prompts by name, and the default one."""
    path = folder / SETTINGS
    config = read_optional(path)
    with sense(path):
        prompts: dict[str, Any] = config.get("prompts") or {}
        return prompts, str(prompts.get(config.get("default_prompt_name") or "") or "")


def read_size(folder: Path) -> int | None:
    """How many numbers of a vector are kept, after all modules; None where all are.

    Raises UnsupportedModel for a number that is none.
    """
    path = folder / SETTINGS
    size = read_optional(path).get("truncate_dim")
    if size is not None and not (type(size) is int and size > 0):
        raise UnsupportedModel(
            f"{path}: truncate_dim is {size!r}; it must be a whole number, 1 or more, or null"
        )
    return size


def read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def digest_of(*values: object) -> str:
    """Hash of JSON values, 32 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()
