"""A Hugging Face encoder on CPU, CUDA or MPS; torch and transformers are imported only here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BadInput, UnsupportedModel
from .batching import Pool, batches
from .gpu import Half, planless_attention
from .quiet import quiet
from .tokenizing import Ids
from .weights import Weights

Task = Literal["hidden", "masked", "labels"]
Result = TypeVar("Result")

_CPU_BUDGET = 512  # tokens a batch: its activations stay in a core's cache
_GPU_BUDGET = 32_768
_STREAMS = 2  # of work on each GPU: one computes while another's batch comes and goes


class Network:
    """An encoder ready to run, with a copy of it on every device.

    `task` "hidden": rows are the last hidden states. "masked": rows are what the final
    projection onto the vocabulary (`decoder_weight`, `decoder_bias`) reads, so that logits =
    row @ weight.T + bias; they are never formed here. "labels": a text has one row, the logits of
    a classifier's labels (`run` then gives (batch, labels)).

    `device`: "cpu", "cuda" (all GPUs), "cuda:1", "mps", or None: the GPUs if any, else the CPU.
    A GPU computes in half precision (see `gpu`), by several streams.
    """

    def __init__(self, folder: Path, task: Task, device: str | None = None) -> None:
        self.devices = pick_devices(device)
        self.kind = self.devices[0].type
        model = load(folder, task)
        self._decoders: list[tuple[Tensor, Tensor | None]] = []
        weight = bias = None
        if task == "masked":
            weight, bias = split_head(model)
        self.models: list[nn.Module] = []
        for place in self.devices:
            copy = model if len(self.devices) == 1 else load_copy(model)
            self.models.append(copy.to(place))
            if weight is not None:
                # half of CUDA's time; fp16 has more digits than bf16, and logits are never large
                kind = torch.float16 if self.kind == "cuda" else torch.float32
                moved = weight.to(place, kind)
                self._decoders.append((moved, None if bias is None else bias.to(place)))
        self._half = Half() if self.kind == "cuda" else None
        self._streams: list[Any] = []
        if self.kind == "cuda":
            for place in self.devices:
                torch.cuda.synchronize(place)  # subtle: other streams read what this one copies
            self._streams = [torch.cuda.Stream(at) for at in self.devices * _STREAMS]
        # on the CPU one thread a batch beats many threads on one: no waiting at each operation
        self.workers = torch.get_num_threads() if self.kind == "cpu" else len(self._streams) or 1
        self._pool: Pool[Any] = Pool(self.workers, self._release)
        self._pad = int(getattr(model.config, "pad_token_id", None) or 0)

    def run(
        self,
        tokens: Sequence[Ids],
        work: Callable[[int, Tensor, list[int]], Result],
        types: Sequence[Ids] | None = None,
    ) -> Iterator[tuple[list[int], Result]]:
        """(rows, work(worker, hidden, lengths)) of each batch of the texts, longest first.

        `hidden` is (batch, longest, dim) on the worker's device; row i is padded from
        `lengths[i]` on. `types`: of each token, where a text is a pair of texts.
        """
        lengths = [len(ids) for ids in tokens]
        budget = _CPU_BUDGET if self.kind == "cpu" else _GPU_BUDGET

        def one(worker: int, rows: list[int]) -> Result:
            kinds = None if types is None else [types[row] for row in rows]
            some = [tokens[row] for row in rows]
            with torch.inference_mode(), self._stream(worker):
                if self._half is None:
                    return work(worker, self._hidden(worker, some, kinds), [*map(len, some)])
                return self._half.run(
                    lambda: self._hidden(worker, some, kinds),
                    lambda hidden: work(worker, hidden, [*map(len, some)]),
                )

        def single_threaded() -> None:
            if self.kind == "cpu":
                torch.set_num_threads(1)

        before = torch.get_num_threads()
        try:
            with planless_attention():
                yield from self._pool.run(batches(lengths, budget), lengths, one, single_threaded)
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)

    def decoder(self, worker: int) -> tuple[Tensor, Tensor | None]:
        """The projection's weight (V, dim) and bias (V,) on a worker's device (task "masked")."""
        return self._decoders[self._place(worker)]

    def _place(self, worker: int) -> int:
        return 0 if self.kind == "cpu" else worker % len(self.devices)

    def _stream(self, worker: int) -> contextlib.AbstractContextManager[Any]:
        """Everything in it is computed on a worker's own stream of its GPU, where it has one."""
        if not self._streams:
            return contextlib.nullcontext()
        chosen: contextlib.AbstractContextManager[Any] = torch.cuda.stream(self._streams[worker])
        return chosen

    def _hidden(self, worker: int, tokens: list[Ids], types: list[Ids] | None) -> Tensor:
        lengths = [len(ids) for ids in tokens]
        longest = max(lengths)
        ids = np.full((len(tokens), longest), self._pad, np.int64)
        mask = np.zeros((len(tokens), longest), np.int64)
        for row, piece in enumerate(tokens):
            ids[row, : len(piece)] = piece
            mask[row, : len(piece)] = 1
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if types is not None:
            kinds = np.zeros((len(tokens), longest), np.int64)
            for row, piece in enumerate(types):
                kinds[row, : len(piece)] = piece
            inputs["token_type_ids"] = torch.from_numpy(kinds)
        device = self.devices[self._place(worker)]
        if device.type == "cuda":
            inputs = {
                name: tensor.pin_memory().to(device, non_blocking=True)
                for name, tensor in inputs.items()
            }
        elif device.type != "cpu":
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        output = self.models[self._place(worker)](**inputs)
        hidden: Tensor = output[0]
        return hidden

    def _release(self) -> None:
        if self.kind == "cuda":
            torch.cuda.empty_cache()


def pick_devices(device: str | None) -> list[torch.device]:
    """The devices to use; BadInput for one that isn't there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device is None:
        device = "cuda" if count else "mps" if mps else "cpu"
    if device == "cuda" and count:
        return [torch.device("cuda", index) for index in range(count)]
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = torch.device("meta")
    there = {
        "cpu": True,
        "cuda": chosen.index is not None and chosen.index < count,
        "mps": mps,
    }
    if not there.get(chosen.type, False):
        have = ["cpu", *(f"cuda:{index}" for index in range(count)), *(["mps"] if mps else [])]
        raise BadInput(f"no device {device!r} here, only {', '.join(have)}")
    return [chosen]


def load(folder: Path, task: Task) -> nn.Module:
    """The model of a folder in fp32, ready for inference; safetensors only, no remote code."""
    Weights(folder)  # raises one clear line where they are missing or damaged
    try:
        with quiet():
            import transformers

            auto = {
                "hidden": transformers.AutoModel,
                "masked": transformers.AutoModelForMaskedLM,
                "labels": transformers.AutoModelForSequenceClassification,
            }[task]
            model, report = auto.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except MemoryError:
        raise
    except Exception as error:  # transformers raises whatever a config makes fail
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedModel(f"cannot load {folder}: {lines[0][:300]}") from None
    # only classifiers read what the pooler makes
    missing = [key for key in report["missing_keys"] if task == "labels" or "pooler" not in key]
    if missing:
        raise UnsupportedModel(
            f"{folder} lacks the weights {', '.join(sorted(missing)[:3])}"
            f"{' ...' if len(missing) > 3 else ''}: it was made for something else"
        )
    loaded: nn.Module = model.float().eval().requires_grad_(False)
    return loaded


def load_copy(model: nn.Module) -> nn.Module:
    """A replica of a model, for another device."""
    import copy

    return copy.deepcopy(model)


def split_head(model: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Take the final projection out of a ...ForMaskedLM model: its weight (V, D) and bias (V,).

    Afterwards the model's "logits" are the projection's inputs. A probe checks that nothing
    else happens between them and the true logits; UnsupportedModel where it does.
    """
    decoder = model.get_output_embeddings()
    if not isinstance(decoder, nn.Linear):
        raise UnsupportedModel(f"{type(model).__name__} has no linear projection onto a vocabulary")
    probe = torch.arange(1, 6).remainder(decoder.out_features).unsqueeze(0)
    with torch.inference_mode():
        expected = model(input_ids=probe)[0]
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if child is decoder:
                    setattr(parent, name, nn.Identity())
        hidden = model(input_ids=probe)[0]
        if hidden.shape[-1] == decoder.in_features:
            logits = nn.functional.linear(hidden, decoder.weight, decoder.bias)
            if torch.allclose(logits, expected, rtol=1e-3, atol=1e-3):
                bias = None if decoder.bias is None else decoder.bias.detach()
                return decoder.weight.detach(), bias
    raise UnsupportedModel(
        f"{type(model).__name__} does more than project onto its vocabulary; it can't be used here"
    )
