"""A trained model as a folder: safetensors, JSON, and nothing that is executed.

The folder is like the one that training began from, with other weights; sentence-transformers
opens it as it is, and so does searchlib.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..encoders.blend_layout import FOLDER as BLEND
from ..encoders.dense import Pooled
from ..encoders.dense_layout import DenseLayout, Normalize, Truncate
from ..encoders.gains import FOLDER as GAINS
from ..encoders.layout import SETTINGS, inside, read_modules, read_optional
from ..encoders.sparse_layout import Expansion, SparseLayout
from ..encoders.weights import read_json, sense, weight_files
from ..errors import UnsupportedModel
from .new_folder import copy_files

_KEPT = (".json", ".txt", ".model", ".safetensors")
_WEIGHTS = "model.safetensors"
_SHARDS = f"{_WEIGHTS}.index.json"
_TRAINER = "trainer_state.json"
_NEVER = (_SHARDS, "generation_config.json", "adapter_config.json")
# the names of sentence-transformers 5, which 6 knows too
_TYPES = {
    "masked": "sentence_transformers.sparse_encoder.models.MLMTransformer",
    "splade": "sentence_transformers.sparse_encoder.models.SpladePooling",
    "transformer": "sentence_transformers.models.Transformer",
    "pooling": "sentence_transformers.models.Pooling",
    "dense": "sentence_transformers.models.Dense",
}

Floats = NDArray[np.float32]
Save = Callable[[Path], None]
"""Writes config.json and model.safetensors of a trained transformer into a folder."""


def export_sparse(source: Path, layout: SparseLayout, save: Save, folder: Path) -> None:
    """Fill `folder` with the model of `source`, its masked-language model as `save` writes it.

    sentence-transformers opens it as SparseEncoder. Raises UnsupportedModel for a model whose
    queries and documents are made differently.
    """
    side = layout.document
    if not isinstance(layout.query, Expansion) or layout.query != side:
        raise UnsupportedModel(f"{source} has queries of its own kind; train a model that has not")
    _copy(source, side.transformer.path, folder)
    place = folder / side.transformer.path.relative_to(source)
    save(place)
    _describe(place, side.transformer.max_tokens, side.transformer.lower)
    if not (folder / "modules.json").exists():
        pooling = {
            "pooling_strategy": side.pooling,
            "activation_function": "log1p_relu" if side.logs == 2 else "relu",
        }
        _write(folder / "1_SpladePooling" / "config.json", pooling)
        _write_modules(folder, [("", "masked"), ("1_SpladePooling", "splade")])
        _write_settings(folder, "SparseEncoder", "dot")


def export_dense(source: Path, layout: DenseLayout, save: Save, folder: Path) -> None:
    """The same for a dense model: pooling and what follows are those of `source`.

    sentence-transformers opens it as SentenceTransformer.
    """
    transformer = layout.transformer
    _copy(source, transformer.path, folder)
    place = folder / transformer.path.relative_to(source)
    save(place)
    _describe(place, transformer.max_tokens, transformer.lower)
    _dense_modules(layout, folder, place)


def export_map(source: Path, layout: DenseLayout, matrix: Floats, folder: Path) -> None:
    """Fill `folder` with a dense model whose vectors (dim,) are also multiplied by a matrix.

    The weights stay; a Dense module comes before the last Normalize, or at the end. So
    sentence-transformers opens it too. Of a model whose vectors are cut to their first numbers
    the module reads whole ones, and the others count for nothing.
    """

    def same(place: Path) -> None:
        for path in weight_files(layout.transformer.path):
            shutil.copyfile(path, place / path.name)
        index = layout.transformer.path / _SHARDS
        if index.is_file():
            shutil.copyfile(index, place / _SHARDS)

    export_dense(source, layout, same, folder)
    matrix = _uncut(layout, matrix, folder)
    modules = json.loads((folder / "modules.json").read_bytes())
    last = len(modules) - (Normalize() in layout.steps[-1:])
    numbers = (n for n in count(len(modules)) if not (folder / f"{n}_Dense").exists())
    name = f"{next(numbers)}_Dense"
    config = {
        "in_features": matrix.shape[0],
        "out_features": matrix.shape[1],
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write(folder / name / "config.json", config)
    rows = np.ascontiguousarray(matrix.T, np.float32)  # y = x W', as torch has it
    save_file({"linear.weight": rows}, folder / name / "model.safetensors")
    modules.insert(last, {"path": name, "type": _TYPES["dense"]})
    numbered = [{**m, "idx": n, "name": str(n)} for n, m in enumerate(modules)]
    _write(folder / "modules.json", numbered)


def _uncut(layout: DenseLayout, matrix: Floats, folder: Path) -> Floats:
    """The matrix for vectors that are not cut, where `folder` is told to cut none any more."""
    whole = tuple(step for step in layout.steps if not isinstance(step, Truncate))
    if whole == layout.steps:
        return matrix
    path = folder / SETTINGS
    settings = read_optional(path)
    _write(path, {key: value for key, value in settings.items() if key != "truncate_dim"})
    model = Pooled(replace(layout, steps=whole), layout.max_tokens, None)
    missing = model.vectors(["a"], "").shape[1] - len(matrix)
    return np.pad(matrix, ((0, missing), (0, 0)))


def _dense_modules(layout: DenseLayout, folder: Path, place: Path) -> None:
    """modules.json and what it names, where `folder` has none."""
    if not (folder / "modules.json").exists():
        config = read_optional(place / "config.json")
        pooling = {
            "word_embedding_dimension": config.get("hidden_size") or config.get("dim"),
            **{f"pooling_mode_{name}_token{s}": name == "mean" for name, s in _POOLS},
            "include_prompt": layout.include_prompt,
        }
        _write(folder / "1_Pooling" / "config.json", pooling)
        _write_modules(folder, [("", "transformer"), ("1_Pooling", "pooling")])
        _write_settings(folder, "SentenceTransformer", "cosine")


_POOLS = (("cls", ""), ("mean", "s"), ("max", "s"))


def copy_model(source: Path, folder: Path) -> None:
    """Fill `folder` with a model as it is: weights, tokenizer, settings, and nothing else."""
    copy_files(source, _files_of(source), folder)


def _copy(source: Path, transformer: Path, folder: Path) -> None:
    """All files of a model but the transformer's weights."""
    weights = {path.resolve() for path in weight_files(transformer)}

    def is_wanted(path: Path) -> bool:
        return path.name not in _NEVER and path.resolve() not in weights

    copy_files(source, filter(is_wanted, _files_of(source)), folder)


def _files_of(source: Path) -> Iterator[Path]:
    """The files that a model consists of: those beside its config and those of its modules.

    Other folders are none of it: a trainer's checkpoints, weights in other formats.
    """
    own = weight_files(source) if any(source.glob(f"{_WEIGHTS}*")) else []
    for path in source.iterdir():
        foreign = path.suffix == ".safetensors" and path not in own
        hidden = path.name.startswith(".") or path.name == _TRAINER
        if path.suffix in _KEPT and not (foreign or hidden):
            yield path
    for part in _modules_of(source):
        for path in part.rglob("*"):
            hidden = any(name.startswith(".") for name in path.relative_to(part).parts)
            if path.suffix in _KEPT and not hidden:
                yield path


def _modules_of(source: Path) -> set[Path]:
    """The folders that a model names, besides its own, and those of what searchlib adds."""
    modules = read_modules(source) if (source / "modules.json").is_file() else []
    parts = [path for _, path in modules]
    for kind, path in modules:
        if kind in ("Router", "Asym"):
            config = read_optional(path / "router_config.json") or read_json(path / "config.json")
            with sense(path):
                parts += [inside(path, name) for name in config["types"]]
    return {*parts, source / GAINS, source / BLEND} - {source}


def _describe(place: Path, max_tokens: int, lower: bool) -> None:
    path = place / "sentence_bert_config.json"
    if not path.exists():
        _write(path, {"max_seq_length": max_tokens, "do_lower_case": lower})


def _write_modules(folder: Path, modules: list[tuple[str, str]]) -> None:
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": _TYPES[kind]}
        for number, (path, kind) in enumerate(modules)
    ]
    _write(folder / "modules.json", entries)


def _write_settings(folder: Path, kind: str, similarity: str) -> None:
    path = folder / SETTINGS
    settings = {"prompts": {}, "default_prompt_name": None, **read_optional(path)}
    _write(path, {**settings, "model_type": kind, "similarity_fn_name": similarity})


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
