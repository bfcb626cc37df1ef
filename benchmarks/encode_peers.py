"""Who encodes texts besides searchlib: sentence-transformers, and OpenVINO in fp32.

OpenVINO gets the same weights through ONNX, with the maximum over tokens (sparse) or the mean
(dense) inside the graph, texts sorted by length, and the fastest of four ways to run it. On a
processor with bfloat16 units it would silently compute in bfloat16; it is asked for fp32.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from report import say
from rounds import installed

from searchlib.encoders import backbone
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.models import resolve
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.sparse_layout import read_sparse

if TYPE_CHECKING:
    import torch

Kind = Literal["sparse", "dense"]
Array = NDArray[np.float32]
OURS, SENTENCE_TRANSFORMERS, OPENVINO = "searchlib", "sentence-transformers", "OpenVINO fp32"
HALF = "sentence-transformers fp16"
TOKENS = 256  # texts are cut there
WAYS = tuple((hint, size) for hint in ("THROUGHPUT", "LATENCY") for size in (1, 8))


@dataclass(frozen=True)
class System:
    """One who encodes documents; `matrix` makes rows over all dimensions of what `encode` gave."""

    encode: Callable[[list[str]], Any]
    matrix: Callable[[Any], Array]
    query: Callable[[str], object]


def searchlib(kind: Kind, model: str, device: str | None) -> System:
    """searchlib, warm, and with torch loaded where it will need it."""
    made: SparseEncoder | DenseEncoder
    if kind == "sparse":
        made = SparseEncoder(model, device, TOKENS)
    else:
        made = DenseEncoder(model, device, TOKENS)
    backbone.LEAN_WORK = 0.0  # torch is loaded at once, not when numpy has had much to do
    made.encode_document(["one two three four five"] * 64)

    def matrix(found: Any) -> Array:
        if kind == "dense":
            return np.asarray(found, np.float32)
        rows = np.zeros((len(found), made.tokenizer.size), np.float32)
        ids = np.array([made.tokenizer.id(term) for term in found.terms])
        lengths = np.diff(found.indptr)
        rows[np.repeat(np.arange(len(found)), lengths), ids[found.indices]] = found.values
        return rows

    return System(made.encode_document, matrix, lambda text: made.encode_query([text]))


def sentence_transformers(
    kind: Kind, model: str, device: str | None, *, half: bool = False
) -> System | None:
    """sentence-transformers with its own defaults: batches of 32; or in fp16, batches of 256."""
    if not installed("sentence_transformers", "sentence-transformers"):
        return None
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    path = str(resolve(model).path)
    made = (
        sentence_transformers.SparseEncoder(path, device=device)
        if kind == "sparse"
        else sentence_transformers.SentenceTransformer(path, device=device)
    )
    made.max_seq_length = TOKENS
    made = made.half() if half else made

    def encode(texts: list[str]) -> Any:
        with tokenising_in_parallel():
            return made.encode(texts, batch_size=256 if half else 32, show_progress_bar=False)

    def matrix(found: Any) -> Array:
        return np.asarray(found if kind == "dense" else found.to_dense().float().cpu(), np.float32)

    return System(encode, matrix, lambda text: made.encode(text, show_progress_bar=False))


@contextlib.contextmanager
def tokenising_in_parallel() -> Iterator[None]:
    """Tokenizers on all cores, which searchlib forbids them in its process: it has its own way."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def openvino(kind: Kind, model: str, threads: int, sample: list[str]) -> System | None:
    """OpenVINO on the CPU, run in the way that encodes `sample` fastest; None where it can't."""
    if not (installed("openvino", "openvino") and installed("onnx", "onnx")):
        return None
    path = resolve(model).path
    if kind == "sparse":
        side = read_sparse(path).document
        if (side.pooling, side.logs) != ("max", 1):
            say(f"OpenVINO is left out: {model} does not pool by max of log1p of relu")
            return None
    tokenizer = (SparseEncoder if kind == "sparse" else DenseEncoder)(
        model, max_tokens=TOKENS
    ).tokenizer
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        _export(kind, path, graph)
        ways = {way: _OpenVINO(graph, threads, *way) for way in WAYS}
        single = _OpenVINO(graph, threads, "LATENCY", 1)

    def run(way: _OpenVINO, texts: list[str]) -> list[Any]:
        return way.encode(tokenizer.encode(texts), sparse=kind == "sparse")

    best = min(ways, key=lambda way: _seconds(lambda: run(ways[way], sample)))
    say(f"{kind}: OpenVINO is fastest with {best[0]}, batches of {best[1]}")

    def matrix(found: list[Any]) -> Array:
        if kind == "dense":
            return np.stack(found)
        rows = np.zeros((len(found), tokenizer.size), np.float32)
        for row, (ids, weights) in zip(rows, found, strict=True):
            row[ids] = weights
        return rows

    return System(lambda texts: run(ways[best], texts), matrix, lambda text: run(single, [text]))


def _seconds(action: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


class _OpenVINO:
    """A compiled graph and its queue of requests."""

    def __init__(self, graph: Path, threads: int, hint: str, batch: int) -> None:
        import openvino  # type: ignore[import-untyped, unused-ignore]

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
        }
        self._batch = batch
        model = openvino.Core().compile_model(str(graph), "CPU", settings)
        requests = int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._queue = openvino.AsyncInferQueue(model, requests)

    def encode(self, tokens: Sequence[NDArray[np.int32]], sparse: bool) -> list[Any]:
        """Of each text its vector, or its ids and weights."""
        found: list[Any] = [None] * len(tokens)

        def keep(request: Any, rows: list[int]) -> None:
            output = request.get_output_tensor(0).data
            for row, vector in zip(rows, output, strict=True):
                ids = np.flatnonzero(vector) if sparse else None
                found[row] = vector.copy() if ids is None else (ids, vector[ids])

        self._queue.set_callback(keep)
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            shape = (len(rows), len(tokens[rows[0]]))
            ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for i, row in enumerate(rows):
                ids[i, : len(tokens[row])] = tokens[row]
                mask[i, : len(tokens[row])] = 1
            self._queue.start_async({"ids": ids, "mask": mask}, rows)
        self._queue.wait_all()
        return found


def _export(kind: Kind, path: Path, to: Path) -> None:
    import torch
    import transformers

    auto = transformers.AutoModelForMaskedLM if kind == "sparse" else transformers.AutoModel
    model = auto.from_pretrained(path, attn_implementation="eager").eval()

    class Graph(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            rows = self.model(input_ids=ids, attention_mask=mask)[0]
            real = mask.unsqueeze(2).to(rows.dtype)
            if kind == "sparse":
                return torch.log1p(torch.relu((rows + (real - 1) * 1e9).amax(dim=1)))
            mean = (rows * real).sum(dim=1) / real.sum(dim=1)
            return torch.nn.functional.normalize(mean, dim=1)

    ids = torch.ones((2, 8), dtype=torch.long)
    mask = ids.clone()
    mask[1, 5:] = 0
    axes = {"ids": {0: "batch", 1: "tokens"}, "mask": {0: "batch", 1: "tokens"}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Graph(), (ids, mask), str(to), dynamo=False, opset_version=17,
            input_names=["ids", "mask"], output_names=["out"],
            dynamic_axes={**axes, "out": {0: "batch"}},
        )  # fmt: skip
