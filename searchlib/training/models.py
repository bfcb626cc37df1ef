"""Encoders with a gradient: what `searchlib.encoders` runs, made to be trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..encoders.batching import batches
from ..encoders.dense_layout import Normalize, Projection, read_dense
from ..encoders.gpu import planless_attention
from ..encoders.network import load, pick_devices
from ..encoders.pooling import pool_batch
from ..encoders.sparse_layout import Expansion, read_sparse
from ..encoders.tokenizing import Ids, Tokenizer
from ..errors import UnsupportedModel
from .head import Rows, pooled
from .mlm import IGNORED, MaskedBatch

_CPU_BUDGET = 4096  # tokens a forward pass, padding included
_GPU_BUDGET = 65_536


class _Body:
    """A Hugging Face encoder and its tokenizer; hidden rows of texts, without padding."""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: str | None) -> None:
        self.device = pick_devices(device)[0]
        self.model = model.to(self.device).requires_grad_(True)
        self.tokenizer = tokenizer

    def rows(self, texts: Sequence[str], prompt: str) -> Rows:
        """The hidden rows of texts; those of like length share a pass."""
        tokens = self.tokenizer.encode(texts, prompt, parallel=self.device.type != "cpu")
        lengths = [len(ids) for ids in tokens]
        starts = [0] * len(tokens)
        flats: list[Tensor] = []
        end = 0
        budget = _CPU_BUDGET if self.device.type == "cpu" else _GPU_BUDGET
        for some in batches(lengths, budget):
            hidden = self._hidden([tokens[i] for i in some])
            flats.append(hidden.reshape(-1, hidden.shape[-1]))
            for row, i in enumerate(some):
                starts[i] = end + row * hidden.shape[1]
            end += len(flats[-1])
        return Rows(torch.cat(flats), starts, lengths)

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Within it a CUDA GPU computes in bf16, the weights and what is summed staying fp32."""
        half = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        with planless_attention(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            yield

    def _hidden(self, tokens: list[Ids]) -> Tensor:
        longest = max(len(ids) for ids in tokens)
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros((len(tokens), longest), np.int64)
        for row, piece in enumerate(tokens):
            ids[row, : len(piece)] = piece
            mask[row, : len(piece)] = 1
        hidden: Tensor = self.model(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=torch.from_numpy(mask).to(self.device),
        )[0]
        return hidden


class TrainableSparse:
    """A learned sparse encoder with a gradient: texts to (n, V) weights.

    `factors` (V,): what a query's weights are multiplied by where they meet a document's (a
    power of the collection's idf, as in an index); `length_power`: documents are divided by
    that power of their Euclidean length, as `SparseEncoder` does.

    Raises UnsupportedModel for one whose queries are a table, or whose pooling is not
    max of log1p(relu(logit)).
    """

    def __init__(self, folder: Path, max_tokens: int, device: str | None = None) -> None:
        layout = read_sparse(folder)
        if layout.gains is not None:
            raise UnsupportedModel(
                f"{folder} has factors of query terms; train the model that it was made of"
            )
        side = layout.document
        if side != layout.query or side.pooling != "max" or side.logs != 1 or side.drop_special:
            raise UnsupportedModel(f"{folder}: only a plain SPLADE model can be trained")
        assert isinstance(side, Expansion)
        self._prompts = (layout.document_prompt, layout.query_prompt)
        transformer = side.transformer
        tokenizer = Tokenizer(
            transformer.path, min(max_tokens, transformer.max_tokens), transformer.lower
        )
        model = load(transformer.path, "masked")
        self.folder = transformer.path
        self._decoder = model.get_output_embeddings()
        if not isinstance(self._decoder, nn.Linear) or self._decoder.bias is None:
            raise UnsupportedModel(f"{folder}: its head is no linear projection with a bias")
        self._model = model
        self._place = _swap(model, self._decoder, nn.Identity())
        self._body = _Body(model, tokenizer, device)
        self.factors: Tensor | None = None
        self.length_power = 0.0
        self.weight = self._decoder.to(self._body.device).weight.requires_grad_(True)
        self.bias = self._decoder.bias.requires_grad_(True)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._body.tokenizer

    def scores(self, queries: Tensor, documents: Tensor) -> Tensor:
        """(B, n) scores of B queries' and n documents' weights, as an index gives them."""
        lengths = documents.norm(dim=1, keepdim=True).clamp(min=1e-6)
        if self.factors is not None:
            queries = queries * self.factors
        return queries @ (documents / lengths**self.length_power).T

    def encode(self, texts: Sequence[str], query: bool) -> Tensor:
        """(n, V) weights >= 0."""
        with self._body.precision():
            rows = self._body.rows(texts, self._prompts[query])
            return pooled(rows, self.weight, self.bias)

    def surprise(self, batch: MaskedBatch) -> Tensor:
        """Cross-entropy of the hidden tokens, a mean over them (0 if there are none); only their
        logits are made."""
        device = self._body.device
        ids, attention, labels = (
            torch.from_numpy(some).to(device) for some in (batch.ids, batch.attention, batch.labels)
        )
        chosen = labels != IGNORED
        with self._body.precision():
            hidden: Tensor = self._model(input_ids=ids, attention_mask=attention)[0]
            logits = hidden[chosen] @ self.weight.T + self.bias
        total = functional.cross_entropy(logits.float(), labels[chosen], reduction="sum")
        return total / max(1, len(logits))

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained, each once."""
        found = {id(p): p for p in [*self._model.parameters(), *self._decoder.parameters()]}
        return list(found.values())

    def save(self, folder: Path) -> None:
        """Write a ...ForMaskedLM folder's config and weights (safetensors)."""
        setattr(*self._place, self._decoder)
        try:
            self._model.save_pretrained(folder)
        finally:
            setattr(*self._place, nn.Identity())


class TrainableDense:
    """A dense encoder with a gradient: texts to (n, dim) vectors.

    Raises UnsupportedModel for one with projections after its pooling.
    """

    def __init__(self, folder: Path, max_tokens: int, device: str | None = None) -> None:
        layout = read_dense(folder)
        if any(isinstance(step, Projection) for step in layout.steps):
            raise UnsupportedModel(f"{folder}: a model with projections cannot be trained yet")
        self._layout = layout
        transformer = layout.transformer
        tokenizer = Tokenizer(
            transformer.path, min(max_tokens, transformer.max_tokens), transformer.lower
        )
        self.folder = transformer.path
        self._model = load(transformer.path, "hidden")
        self._body = _Body(self._model, tokenizer, device)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._body.tokenizer

    def encode(self, texts: Sequence[str], query: bool) -> Tensor:
        """(n, dim) vectors, scaled to length 1 where the model says so."""
        layout = self._layout
        prompt = layout.query_prompt if query else layout.document_prompt
        skip = 0
        if prompt and not layout.include_prompt:
            skip = self.tokenizer.prompt_length(prompt)
        with self._body.precision():
            rows = self._body.rows(texts, prompt)
        padded = nn.utils.rnn.pad_sequence([rows.of(i) for i in range(len(rows))], batch_first=True)
        vectors = pool_batch(padded, rows.lengths, layout.pooling, skip)
        return functional.normalize(vectors, dim=1) if Normalize() in layout.steps else vectors

    def scores(self, queries: Tensor, documents: Tensor) -> Tensor:
        """(B, n) inner products."""
        return queries @ documents.T

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        return list(self._model.parameters())

    def save(self, folder: Path) -> None:
        """Write the transformer's config and weights (safetensors)."""
        self._model.save_pretrained(folder)


Trainable = TrainableSparse | TrainableDense


def _swap(model: nn.Module, child: nn.Module, other: nn.Module) -> tuple[nn.Module, str]:
    """Put `other` where `child` is in a model; (parent, attribute)."""
    for parent in model.modules():
        for name, module in parent.named_children():
            if module is child:
                setattr(parent, name, other)
                return parent, name
    raise UnsupportedModel(f"{type(model).__name__} hides its head")
