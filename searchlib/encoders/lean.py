"""BERT-family encoders in numpy and C: neither torch nor transformers is loaded.

A text of T tokens runs unpadded as (T, dim) float32 matrices, some texts together in C. Known:
bert, distilbert, roberta, xlm-roberta, camembert, electra. Dropout is left out (inference), so is
the pooler (unused).
Devlin et al. 2019 (arXiv:1810.04805).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS, Array, gelu
from .native import (
    PositiveLogits,
    affine,
    best_kernel,
    fixed_point,
    layers,
    normalised,
    runs_layers,
    transformed,
)
from .tokenizing import Ids
from .weights import Weights, read_json

Linear = tuple[Array, Array]  # weight (out, in), bias (out,)
Norm = tuple[Array, Array]  # scale, shift

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mixed": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "norm2": "output_layer_norm",
}
# model_type: (names within a layer, where the layers are, prefix of the body in ...ForMaskedLM)
_FAMILIES = {
    "bert": (_BERT, "encoder.layer", "bert."),
    "roberta": (_BERT, "encoder.layer", "roberta."),
    "xlm-roberta": (_BERT, "encoder.layer", "roberta."),
    "camembert": (_BERT, "encoder.layer", "roberta."),
    "electra": (_BERT, "encoder.layer", "electra."),
    "distilbert": (_DISTILBERT, "transformer.layer", "distilbert."),
}
# model_type: (dense, norm, the projection, its bias if it has none itself)
_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
             "cls.predictions.decoder", "cls.predictions.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm",
                "generator_lm_head", "generator_lm_head.bias"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector",
                   "vocab_projector.bias"),
}  # fmt: skip
_HEADS["xlm-roberta"] = _HEADS["camembert"] = _HEADS["roberta"]


@dataclass(frozen=True)
class _Layer:
    query: Linear
    key: Linear
    value: Linear
    mixed: Linear
    norm1: Norm
    up: Linear
    down: Linear
    norm2: Norm


class LeanEncoder:
    """A BERT-family encoder read from safetensors; `hidden` gives a text's last hidden states."""

    def __init__(self, folder: Path, masked: bool = False) -> None:
        config = read_json(folder / "config.json")
        self._masked = masked
        self._fixing = threading.Lock()
        self._type = str(config["model_type"])
        names, layers, prefix = _FAMILIES[self._type]
        self._weights = _Named(Weights(folder), prefix)
        get = self._weights
        self._heads = int(config.get("num_attention_heads") or config["n_heads"])
        self._eps = float(config.get("layer_norm_eps") or 1e-12)
        self._act = ACTIVATIONS[str(config.get("hidden_act") or config.get("activation"))]
        self._words = get["embeddings.word_embeddings.weight"]
        self._positions = get["embeddings.position_embeddings.weight"]
        types = get.get("embeddings.token_type_embeddings.weight")
        self._type0 = types[0] if types is not None else np.zeros(1, np.float32)
        self._norm = get.norm("embeddings.LayerNorm")
        wide = "embeddings_project.weight" in get
        self._project = get.linear("embeddings_project") if wide else None
        shifted = self._type in ("roberta", "xlm-roberta", "camembert")
        self._padding = int(config["pad_token_id"]) if shifted else None
        count = int(config.get("num_hidden_layers") or config["n_layers"])
        self._layers = [
            _Layer(**{
                part: get.norm(f"{layers}.{i}.{name}")
                if part.startswith("norm")
                else get.linear(f"{layers}.{i}.{name}")
                for part, name in names.items()
            })
            for i in range(count)
        ]  # fmt: skip

    @cached_property
    def compiled(self) -> bool:
        """Whether compiled code runs the layers: then torch is not faster for any text."""
        return self._act is gelu and runs_layers(self._arrays, len(self._layers[0].norm1[0]))

    @cached_property
    def _arrays(self) -> tuple[Array, ...]:
        return tuple(
            array for layer in self._layers for part in vars(layer).values() for array in part
        )

    @property
    def fixed(self) -> object | None:
        """The layers' weights in whole numbers, made at first use; None where they can't be."""
        with self._fixing:  # some threads encode at once
            return self._fixed

    @cached_property
    def _fixed(self) -> object | None:
        kernel = best_kernel()
        return None if kernel is None else fixed_point(self._arrays, kernel)

    @property
    def work(self) -> int:
        """Multiply-adds a token, attention aside."""
        parts = [part for layer in self._layers for part in vars(layer).values()]
        head = self.decoder[0].size if self._masked else 0
        return int(head + sum(matrix.size for matrix, _ in parts))

    def hidden(
        self, texts: Sequence[Ids], workers: int = 1, *, rounded: bool = False
    ) -> list[Array]:
        """(T, dim) last hidden states of each text, given as ids, by so many threads at most.

        `rounded`: 4 digits of them are enough, so that compiled code may multiply whole numbers.
        """
        found = [self._embedded(ids) for ids in texts]
        kernel = best_kernel() if self.compiled else None
        if kernel is None:
            return [self._by_layers(x) for x in found]
        fixed = self.fixed if rounded else None
        arrays, heads, eps = self._arrays, self._heads, self._eps
        return layers(found, arrays, heads, eps, kernel, fixed=fixed, workers=workers)

    def projected(self, texts: Sequence[Ids], workers: int = 1) -> list[Array]:
        """(T, dim) rows that the vocabulary's projection reads: logits = row @ weight.T + bias."""
        dense, norm = self._head
        act = self._act if self._type in ("bert", "distilbert") else gelu
        eps = 1e-12 if self._type == "distilbert" else self._eps
        hidden = self.hidden(texts, workers)
        if act is gelu:
            return [transformed(rows, dense, norm, eps, best_kernel()) for rows in hidden]
        return [_layer_norm(act(_linear(rows, dense)), norm, eps) for rows in hidden]

    def _embedded(self, ids: Ids) -> Array:
        """(T, dim) what the first layer reads of one text."""
        places = np.arange(len(ids))
        if self._padding is not None:  # fairseq's way: count from padding + 1, padding aside
            real = ids != self._padding
            places = np.cumsum(real) * real + self._padding
        x = self._words[ids] + self._positions[places] + self._type0
        x = _layer_norm(x, self._norm, self._eps)
        return _linear(x, self._project) if self._project else x

    def _by_layers(self, x: Array) -> Array:
        """One text through the layers, in numpy."""
        for layer in self._layers:
            mixed = _linear(_attend(x, layer, self._heads), layer.mixed)
            x = _layer_norm(np.add(mixed, x, out=mixed), layer.norm1, self._eps)
            wide = self._act(_linear(x, layer.up))
            narrow = _linear(wide, layer.down)
            x = _layer_norm(np.add(narrow, x, out=narrow), layer.norm2, self._eps)
        return x

    @cached_property
    def decoder(self) -> Linear:
        """The projection onto the vocabulary: weight (V, dim), bias (V,)."""
        _, _, projection, bias = _HEADS[self._type]
        own = self._weights.get(f"{projection}.weight")
        # subtle: a head that is not tied to the embeddings has both biases, and adds its own
        shift = self._weights.get(f"{projection}.bias")
        return (
            self._words if own is None else own,
            self._weights[bias] if shift is None else shift,
        )

    @cached_property
    def positive_logits(self) -> PositiveLogits:
        """What a sparse head makes of `projected` rows."""
        return PositiveLogits(*self.decoder, best_kernel())

    @cached_property
    def _head(self) -> tuple[Linear, Norm]:
        dense, norm, _, _ = _HEADS[self._type]
        return self._weights.linear(dense), self._weights.norm(norm)


def lean_encoder(folder: Path, masked: bool) -> LeanEncoder | None:
    """A numpy encoder for the model of a folder, or None where its architecture isn't known."""
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    act = config.get("hidden_act") or config.get("activation")
    plain = config.get("position_embedding_type", "absolute") == "absolute"
    if kind not in _FAMILIES or act not in ACTIVATIONS or not plain:
        return None
    if config.get("is_decoder") or (masked and kind not in _HEADS):
        return None
    try:
        encoder = LeanEncoder(folder, masked)
        _ = encoder.work  # looks every tensor up
    except KeyError:
        return None  # tensors named otherwise: torch knows better
    return encoder


class _Named(Mapping[str, NDArray[Any]]):
    """Weights under the names of a bare model: prefix and old names (gamma, beta) mapped."""

    def __init__(self, weights: Weights, prefix: str) -> None:
        self._weights = weights
        self._names: dict[str, str] = {}
        for name in weights:
            plain = name.removeprefix(prefix)
            plain = plain.replace("LayerNorm.gamma", "LayerNorm.weight")
            self._names[plain.replace("LayerNorm.beta", "LayerNorm.bias")] = name

    def __getitem__(self, name: str) -> NDArray[Any]:
        array = self._weights[self._names[name]]
        return array if array.dtype == np.float32 else array.astype(np.float32)

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def linear(self, name: str) -> Linear:
        return self[f"{name}.weight"], self[f"{name}.bias"]

    def norm(self, name: str) -> Norm:
        return self.linear(name)


def _linear(x: Array, layer: Linear) -> Array:
    return affine(x, *layer, best_kernel())


def _layer_norm(x: Array, norm: Norm, eps: float) -> Array:
    return normalised(x, norm, eps, best_kernel())


def _attend(x: Array, layer: _Layer, heads: int) -> Array:
    """softmax(QK'/sqrt(d)) V, all heads at once: (T, dim)."""
    tokens, dim = x.shape
    q, k, v = (
        _linear(x, part).T.reshape(heads, dim // heads, tokens)
        for part in (layer.query, layer.key, layer.value)
    )
    scores: Array = q.transpose(0, 2, 1) @ k
    scores *= np.float32(1 / math.sqrt(dim // heads))
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed: Array = v @ scores.transpose(0, 2, 1)
    return mixed.reshape(dim, tokens).T
