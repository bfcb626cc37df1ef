"""What a model folder says about itself: its parts, pooling, prompts and longest input.

Reads sentence-transformers' layout (modules.json, Router included) and plain Hugging Face
folders. Only files are read; nothing is loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UnsupportedModel
from .weights import Weights, read_json

Pool = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLS: tuple[Pool, ...] = (
    "cls",
    "max",
    "mean",
    "mean_sqrt_len_tokens",
    "weightedmean",
    "lasttoken",
)
_OLD_POOLS: dict[str, Pool] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
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


@dataclass(frozen=True)
class Transformer:
    """A Hugging Face encoder in a folder."""

    path: Path
    max_tokens: int  # special tokens included
    lower: bool  # texts are put in lower case before tokenising

    def digest(self) -> str:
        """Hash of its weights, tokenizer and configuration."""
        config = {k: v for k, v in read_json(self.path / "config.json").items()}
        for key in _HOUSEKEEPING:
            config.pop(key, None)
        hasher = hashlib.blake2b(Weights(self.path).digest(), digest_size=16)
        hasher.update(json.dumps(config, sort_keys=True).encode())
        hasher.update(tokenizer_bytes(self.path))
        return hasher.hexdigest()


@dataclass(frozen=True)
class Projection:
    """A linear layer after pooling, then an activation named as in torch.nn."""

    path: Path
    activation: str


@dataclass(frozen=True)
class Normalize:
    """Vectors are scaled to length 1."""


@dataclass(frozen=True)
class DenseLayout:
    """A dense encoder: transformer, pooling (several are concatenated), then `steps`."""

    transformer: Transformer
    pooling: tuple[Pool, ...] = ("mean",)
    include_prompt: bool = True  # whether the prompt's tokens are pooled
    steps: tuple[Projection | Normalize, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""

    def digest(self) -> str:
        """Hash of all that its vectors depend on, but for the number of tokens."""
        steps = [
            (step.activation, Weights(step.path).digest().hex())
            if isinstance(step, Projection)
            else "normalize"
            for step in self.steps
        ]
        prompts = (self.query_prompt, self.document_prompt, self.include_prompt)
        return digest_of(self.transformer.digest(), self.pooling, steps, prompts)


@dataclass(frozen=True)
class Expansion:
    """A side of a sparse encoder that runs a masked-language model."""

    transformer: Transformer
    pooling: Literal["max", "sum"] = "max"
    logs: Literal[1, 2] = 1  # log1p is applied so many times after relu
    drop_special: bool = False  # whether special tokens' columns are dropped


@dataclass(frozen=True)
class Table:
    """A side that looks its tokens' weights up (inference-free queries)."""

    path: Path  # of the tokenizer
    weights: Path  # idf.json, or a folder of safetensors with one tensor "weight"
    max_tokens: int


@dataclass(frozen=True)
class SparseLayout:
    """A sparse encoder: how it makes queries and documents."""

    query: Expansion | Table
    document: Expansion
    max_active: int | None = None  # at most so many terms a text
    query_prompt: str = ""
    document_prompt: str = ""

    def digest(self) -> str:
        """Hash of all that its vectors depend on, but for the number of tokens and pruning."""
        sides: list[object] = []
        for side in (self.query, self.document):
            if isinstance(side, Expansion):
                model = side.transformer.digest()
                sides.append((model, side.pooling, side.logs, side.drop_special))
            else:
                sides.append((table_bytes(side).hex(), tokenizer_bytes(side.path).hex()))
        return digest_of(*sides, self.max_active, self.query_prompt, self.document_prompt)


def read_dense(folder: Path) -> DenseLayout:
    """How `folder` makes dense vectors; a plain Hugging Face encoder gets mean pooling."""
    query, document = _prompts(folder)
    if not (folder / "modules.json").is_file():
        transformer = _transformer(folder)
        return DenseLayout(transformer, query_prompt=query, document_prompt=document)
    modules = _modules(folder)
    if not modules or modules[0][0] != "Transformer":
        first = modules[0][0] if modules else "nothing"
        raise UnsupportedModel(f"{folder} starts with {first}, not with a Transformer")
    pooling: tuple[Pool, ...] = ()
    include_prompt = True
    steps: list[Projection | Normalize] = []
    for kind, path in modules[1:]:
        if kind == "Pooling" and not pooling:
            pooling, include_prompt = _pooling(path)
        elif kind == "Normalize" and pooling:
            steps.append(Normalize())
        elif kind == "Dense" and pooling:
            steps.append(_projection(path))
        elif kind != "Dropout":
            hint = "; use it as a sparse encoder" if kind == "SpladePooling" else ""
            raise UnsupportedModel(
                f"{folder} has a module {kind} that a dense encoder cannot have here "
                f"(Transformer, Pooling, Dense, Normalize){hint}"
            )
    if not pooling:
        raise UnsupportedModel(f"{folder} has no Pooling module: it makes no dense vectors")
    transformer = _transformer(modules[0][1])
    return DenseLayout(transformer, pooling, include_prompt, tuple(steps), query, document)


def read_sparse(folder: Path) -> SparseLayout:
    """How `folder` makes sparse vectors.

    A plain ...ForMaskedLM folder: max of log1p(relu(logit)). One with an idf.json beside (as
    OpenSearch's): the same for documents, special tokens dropped, and queries by that table.
    """
    query_prompt, document_prompt = _prompts(folder)
    settings = _optional(folder / "config_sentence_transformers.json")
    active = settings.get("max_active_dims")
    if not (folder / "modules.json").is_file():
        idf = folder / "idf.json"
        document = Expansion(_transformer(folder), drop_special=idf.is_file())
        query: Expansion | Table = document
        if idf.is_file():
            query = Table(folder, idf, document.transformer.max_tokens)
        _check_masked(document.transformer.path)
        return SparseLayout(query, document, active, query_prompt, document_prompt)
    modules = _modules(folder)
    if [kind for kind, _ in modules] in (["Router"], ["Asym"]):
        sides = _routes(modules[0][1])
        query, routed = _side(sides["query"], folder), _side(sides["document"], folder)
    else:
        query = routed = _side(modules, folder)
    if isinstance(routed, Table):
        raise UnsupportedModel(f"{folder} has no masked-language model to expand documents with")
    return SparseLayout(query, routed, active, query_prompt, document_prompt)


def tokenizer_bytes(folder: Path) -> bytes:
    """Hash of the files that a tokenizer is made from."""
    hasher = hashlib.blake2b(digest_size=32)
    for name in ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model"):
        if (folder / name).is_file():
            hasher.update((folder / name).read_bytes())
            break
    return hasher.digest()


def table_bytes(table: Table) -> bytes:
    """Hash of a table's weights."""
    if table.weights.is_dir():
        return Weights(table.weights).digest()
    return hashlib.blake2b(table.weights.read_bytes(), digest_size=32).digest()


def digest_of(*values: object) -> str:
    """Hash of JSON values, 32 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()


def _transformer(path: Path) -> Transformer:
    if not (path / "config.json").is_file():
        raise UnsupportedModel(f"{path} has no config.json: it is no Hugging Face model")
    config = read_json(path / "config.json")
    bert = _optional(path / "sentence_bert_config.json")
    tokenizer = _optional(path / "tokenizer_config.json")
    limit = config.get("max_position_embeddings") or 512
    if config.get("model_type") in _SHIFTED:
        limit -= int(config.get("pad_token_id", 1)) + 1
    declared = bert.get("max_seq_length") or tokenizer.get("model_max_length") or limit
    return Transformer(path, int(min(declared, limit)), bool(bert.get("do_lower_case", False)))


def _check_masked(path: Path) -> None:
    """Refuse a folder whose config names other heads only: its MLM head would be random."""
    names = read_json(path / "config.json").get("architectures") or []
    if names and not any(str(name).endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        raise UnsupportedModel(
            f"{path} is a {names[0]}: a sparse encoder needs a masked-language head (...ForMaskedLM)"
        )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """(class name, folder) of each module, in order."""
    path = folder / "modules.json"
    try:
        entries = json.loads(path.read_bytes())
        return [(_class(entry["type"]), _inside(folder, entry["path"])) for entry in entries]
    except (ValueError, KeyError, TypeError):
        raise UnsupportedModel(f"{path} is damaged; get the model anew") from None


def _class(name: str) -> str:
    last = str(name).rsplit(".", 1)[-1]
    return "Transformer" if last == "MLMTransformer" else last


def _inside(folder: Path, path: str) -> Path:
    place = folder / path
    if not place.resolve().is_relative_to(folder.resolve()) and ".." in Path(path).parts:
        raise UnsupportedModel(f"{folder} names a module outside itself: {path}")
    return place


def _routes(path: Path) -> dict[str, list[tuple[str, Path]]]:
    """The modules of the routes "query" and "document" of a Router."""
    config = _optional(path / "router_config.json") or _optional(path / "config.json")
    try:
        types, structure = config["types"], config["structure"]
        routes = {
            route: [(_class(types[name]), _inside(path, name)) for name in names]
            for route, names in structure.items()
        }
    except (KeyError, TypeError, AttributeError):
        raise UnsupportedModel(
            f"{path}/router_config.json is damaged; get the model anew"
        ) from None
    for wanted in ("query", "document"):
        if wanted not in routes:
            raise UnsupportedModel(f"{path} routes {sorted(routes)}; 'query' and 'document' needed")
    return routes


def _side(modules: list[tuple[str, Path]], folder: Path) -> Expansion | Table:
    kinds = [kind for kind, _ in modules]
    if kinds == ["SparseStaticEmbedding"]:
        path = modules[0][1]
        config = _optional(path / "config.json")
        tokenizer = _optional(path / "tokenizer_config.json")
        named = config.get("path")
        weights = _inside(path, str(named)) if named else path
        if weights.is_file() or weights == path:
            longest = min(int(tokenizer.get("model_max_length") or 512), 1_000_000)
            return Table(path, weights, longest)
        if (folder / "idf.json").is_file():
            return Table(path, folder / "idf.json", 512)
        raise UnsupportedModel(f"{path} names a table of weights that isn't there: {named}")
    if kinds != ["Transformer", "SpladePooling"]:
        hint = "; use it as a dense encoder" if "Pooling" in kinds else ""
        raise UnsupportedModel(
            f"{folder} has modules {', '.join(kinds)}; a sparse encoder has Transformer and "
            f"SpladePooling, or SparseStaticEmbedding for queries{hint}"
        )
    config = read_json(modules[1][1] / "config.json")
    pooling = config.get("pooling_strategy", "max")
    activation = config.get("activation_function", "relu")
    if pooling not in ("max", "sum") or activation not in ("relu", "log1p_relu"):
        raise UnsupportedModel(
            f"{folder} pools by {pooling} of {activation}, which is unknown here"
        )
    transformer = _transformer(modules[0][1])
    _check_masked(transformer.path)
    return Expansion(transformer, pooling, 2 if activation == "log1p_relu" else 1)


def _pooling(path: Path) -> tuple[tuple[Pool, ...], bool]:
    config = read_json(path / "config.json")
    mode = config.get("pooling_mode")
    if mode is None:
        names = [new for old, new in _OLD_POOLS.items() if config.get(old)] or ["mean"]
    else:
        names = [mode] if isinstance(mode, str) else list(mode)
    if unknown := [name for name in names if name not in POOLS]:
        raise UnsupportedModel(f"{path} pools by {unknown[0]!r}; known are {', '.join(POOLS)}")
    return tuple(names), bool(config.get("include_prompt", True))


def _projection(path: Path) -> Projection:
    config = read_json(path / "config.json")
    activation = _class(config.get("activation_function") or "torch.nn.Tanh")
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        raise UnsupportedModel(
            f"{path} has a Dense module with {activation} or a residual; "
            f"known activations are {', '.join(_ACTIVATIONS)}"
        )
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise UnsupportedModel(f"{path} has a Dense module on tokens, which is unknown here")
    return Projection(path, activation)


def _prompts(folder: Path) -> tuple[str, str]:
    """What goes before queries and before documents, as encode_query and encode_document do."""
    config = _optional(folder / "config_sentence_transformers.json")
    prompts: dict[str, Any] = config.get("prompts") or {}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    query = prompts.get("query", default)
    named = [prompts[name] for name in ("document", "passage", "corpus") if name in prompts]
    return str(query or ""), str((named[0] if named else default) or "")


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
