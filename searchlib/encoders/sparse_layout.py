"""How a model folder makes sparse vectors: a masked-language model, or a table for queries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import UnsupportedModel
from .blend_layout import BlendLayout, base_of, read_blend
from .dense_layout import read_dense
from .gains import FOLDER as GAINS
from .layout import (
    SETTINGS,
    Transformer,
    digest_of,
    inside,
    module_class,
    read_modules,
    read_optional,
    read_prompts,
    read_transformer,
)
from .tokenizer_files import tokenizer_bytes
from .weights import Weights, read_json, sense


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
    lower: bool = False  # texts are put in lower case before tokenising


@dataclass(frozen=True)
class SparseLayout:
    """A sparse encoder: how it makes queries and documents."""

    query: Expansion | Table
    document: Expansion
    max_active: int | None = None  # at most so many terms a text
    query_prompt: str = ""
    document_prompt: str = ""
    blend: BlendLayout | None = None
    gains: Path | None = None  # the folder with factors of a query's terms, if it has them

    def digest(self) -> str:
        """Hash of all that its vectors depend on, but for the number of tokens and pruning."""
        sides: list[object] = []
        for side in (self.query, self.document):
            if isinstance(side, Expansion):
                model = side.transformer.digest()
                sides.append((model, side.pooling, side.logs, side.drop_special))
            else:
                sides.append((table_bytes(side).hex(), tokenizer_bytes(side.path).hex()))
        plain = digest_of(*sides, self.max_active, self.query_prompt, self.document_prompt)
        return plain if self.blend is None else digest_of(plain, self.blend.digest())

    def plain(self) -> SparseLayout:
        """The same without its blend."""
        return replace(self, blend=None)


def read_sparse(folder: Path) -> SparseLayout:
    """How `folder` makes sparse vectors.

    A plain ...ForMaskedLM folder: max of log1p(relu(logit)). One with an idf.json beside (as
    OpenSearch's): the same for documents, special tokens dropped, and queries by that table.
    A blend's: as the sparse model does that it names, and with the blend.
    """
    with sense(folder):
        blend = read_blend(folder)
        layout = _read(folder) if blend is None else _blended(folder, blend)
        return replace(layout, gains=_gains(folder) or layout.gains)


def _blended(folder: Path, blend: BlendLayout) -> SparseLayout:
    base = base_of(folder)
    with sense(base):
        inner = read_blend(base)
        if inner is not None and inner.sparse != str(base):  # else it has weights of its own
            raise UnsupportedModel(f"{blend.path} blends {blend.sparse}, which is a blend itself")
        plain = _read(base)
    digest = plain.digest()
    if blend.sparse_digest not in (None, digest):
        raise UnsupportedModel(
            f"{blend.path} was made with another sparse model than {blend.sparse!r} is now "
            f"(digest {blend.sparse_digest[:12]}, now {digest[:12]}): bring that one back, or "
            "make the blend anew: `searchlib blend`"
        )
    return replace(plain, blend=blend, gains=_gains(base))


def _gains(folder: Path) -> Path | None:
    return folder if (folder / GAINS).is_dir() else None


def _read(folder: Path) -> SparseLayout:
    query_prompt, document_prompt = read_prompts(folder)
    settings = read_optional(folder / SETTINGS)
    active = settings.get("max_active_dims")
    if active is not None and (type(active) is not int or active < 1):
        raise ValueError(f"max_active_dims {active!r}")
    if not (folder / "modules.json").is_file():
        idf = folder / "idf.json"
        document = Expansion(read_transformer(folder), drop_special=idf.is_file())
        query: Expansion | Table = document
        if idf.is_file():
            transformer = document.transformer
            query = Table(folder, idf, transformer.max_tokens, transformer.lower)
        _check_masked(document.transformer.path)
        return SparseLayout(query, document, active, query_prompt, document_prompt)
    modules = read_modules(folder)
    if [kind for kind, _ in modules] in (["Router"], ["Asym"]):
        sides = _routes(modules[0][1])
        query, routed = _side(sides["query"], folder), _side(sides["document"], folder)
    else:
        query = routed = _side(modules, folder)
    if isinstance(routed, Table):
        raise UnsupportedModel(f"{folder} has no masked-language model to expand documents with")
    return SparseLayout(query, routed, active, query_prompt, document_prompt)


def table_bytes(table: Table) -> bytes:
    """Hash of a table's weights."""
    if table.weights.is_dir():
        return Weights(table.weights).digest()
    return hashlib.blake2b(table.weights.read_bytes(), digest_size=32).digest()


def _check_masked(path: Path) -> None:
    """Refuse a folder whose config names other heads only: its MLM head would be random."""
    names = read_json(path / "config.json").get("architectures") or []
    if names and not any(str(name).endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        raise UnsupportedModel(
            f"{path} is a {names[0]}; a sparse encoder needs a masked-language head "
            "(...ForMaskedLM)"
        )


def _routes(path: Path) -> dict[str, list[tuple[str, Path]]]:
    """The modules of the routes "query" and "document" of a Router."""
    config = read_optional(path / "router_config.json") or read_optional(path / "config.json")
    try:
        types, structure = config["types"], config["structure"]
        routes = {
            route: [(module_class(path, types[name]), inside(path, name)) for name in names]
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


def _is_dense(folder: Path) -> bool:
    try:
        read_dense(folder)
    except UnsupportedModel:
        return False
    return True


def _side(modules: list[tuple[str, Path]], folder: Path) -> Expansion | Table:
    kinds = [kind for kind, _ in modules]
    if kinds == ["SparseStaticEmbedding"]:
        path = modules[0][1]
        config = read_optional(path / "config.json")
        tokenizer = read_optional(path / "tokenizer_config.json")
        named = config.get("path")
        weights = inside(path, str(named)) if named else path
        if weights.is_file() or weights == path:
            longest = min(int(tokenizer.get("model_max_length") or 512), 1_000_000)
            return Table(path, weights, longest)
        if (folder / "idf.json").is_file():
            return Table(path, folder / "idf.json", 512)
        raise UnsupportedModel(f"{path} names a table of weights that isn't there: {named}")
    if kinds != ["Transformer", "SpladePooling"]:
        hint = "; use it as a dense encoder" if _is_dense(folder) else ""
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
    transformer = read_transformer(modules[0][1])
    _check_masked(transformer.path)
    return Expansion(transformer, pooling, 2 if activation == "log1p_relu" else 1)
