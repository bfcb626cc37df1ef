"""How fast are texts encoded, against sentence-transformers and OpenVINO, with how much memory?

All encode the same documents in one process, turn by turn, so that a busy machine is busy for
all; reported are medians of the rounds, and medians of the rounds' ratios. Whose vectors differ
from ours is not timed. The same cut of texts and the same number of threads for each, else each
at its best (see encode_peers.py). Peak memory is measured in processes of their own, over what
the loaded model holds. Documents by default: docstrings of this Python, joined to 64-256
word-pieces. On a GPU all cores tokenise, searchlib computes in fp16, and sentence-transformers in
fp32, its default, and in fp16 with larger batches.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from demo import docstrings
from encode_peers import (
    HALF,
    OPENVINO,
    OURS,
    SENTENCE_TRANSFORMERS,
    Kind,
    System,
    openvino,
    searchlib,
    sentence_transformers,
)
from report import Result, judged, one_line_errors, parser, print_results, provenance, say

from indexes.threads import cores
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.models import DENSE_DEFAULT, SPARSE_BASE
from searchlib.encoders.sparse import SparseEncoder

EQUAL, EQUAL_HALF = 1e-4, 3e-2
"""Weights that differ by more are not the same encoding; on a GPU, all but fp32's own."""
TARGETS = {
    ("sparse", SENTENCE_TRANSFORMERS): ">= 4",
    ("sparse", OPENVINO): ">= 1.1",
    ("dense", SENTENCE_TRANSFORMERS): ">= 1.35",
}
QUERY = "how do I run something later on another thread"


def documents(count: int, folder: Path | None) -> list[str]:
    """The texts to encode: of a BEIR folder, or docstrings joined to a random length."""
    if folder:
        from searchlib.formats import read_documents

        read = (f"{doc.title} {doc.text}".strip() for doc, _ in read_documents(folder))
        return [text for _, text in zip(range(count), read, strict=False)]
    rng = random.Random(0)
    words = [word for doc in docstrings() for word in str(doc["text"]).split()]
    texts: list[str] = []
    start = 0
    while len(texts) < count:
        length = int(rng.uniform(64, 256) / 1.55)  # words; a word of a docstring is 1.55 pieces
        texts.append(" ".join(words[start : start + length]))
        start = (start + length) % (len(words) - 300)
    return texts


def systems(
    kind: Kind, sample: list[str], threads: int, options: argparse.Namespace
) -> dict[str, System]:
    """Who encodes, by name: those installed whose vectors for `sample` equal ours."""
    model = options.sparse_model if kind == "sparse" else options.dense_model
    found = {OURS: searchlib(kind, model, options.device)}
    if options.alone:
        return found
    peers = {SENTENCE_TRANSFORMERS: sentence_transformers(kind, model, options.device)}
    if on_gpu(options):
        peers[HALF] = sentence_transformers(kind, model, options.device, half=True)
    else:
        peers[OPENVINO] = openvino(kind, model, threads, sample)
    expected = found[OURS].matrix(found[OURS].encode(sample))
    for name, peer in peers.items():
        if peer is None:
            continue
        apart = float(np.abs(peer.matrix(peer.encode(sample)) - expected).max())
        if apart > (EQUAL_HALF if on_gpu(options) else EQUAL):
            say(f"{kind}: {name} is left out, since its vectors differ from ours by {apart:.2g}")
        else:
            found[name] = peer
    return found


def on_gpu(options: argparse.Namespace) -> bool:
    """Whether another device than the CPU encodes."""
    from searchlib.encoders.network import pick_devices

    return bool(pick_devices(options.device)[0].type != "cpu")


def speed(
    kind: Kind, texts: list[str], rounds: int, threads: int, options: argparse.Namespace
) -> Iterator[Result]:
    """Documents a second of each, how many times as fast we are, and how far vectors lie apart."""
    task, size = f"{kind} documents, {threads} thread{'s' * (threads > 1)}", len(texts)
    with on_threads(threads):
        found = systems(kind, texts[:8], threads, options)
        wall: dict[str, list[float]] = {name: [] for name in found}
        cpu: dict[str, list[float]] = {name: [] for name in found}
        vectors: dict[str, Any] = {}
        names = list(found)
        for number in range(rounds):
            say(f"{task}: round {number + 1} of {rounds}")
            for name in names:
                started, used = time.perf_counter(), time.process_time()
                vectors[name] = found[name].encode(texts)
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
            names = [*names[1:], names[0]]
    for name in found:
        yield Result(name, task, size, "docs/s", size / median(wall[name]))
        yield Result(name, task, size, "docs/s/core", size / median(cpu[name]))
    ours = found[OURS].matrix(vectors[OURS])
    for name in found:
        if name == OURS:
            continue
        for label, times in (("x", wall), ("CPU x", cpu)):
            value = median(b / a for a, b in zip(times[OURS], times[name], strict=True))
            made = Result(OURS, task, size, f"{label} {name}", value)
            wanted = TARGETS.get((kind, name)) if label == "x" else None
            yield judged(made, wanted) if wanted else made
        apart = float(np.abs(found[name].matrix(vectors[name]) - ours).max())
        yield Result(name, task, size, "largest difference", apart)
    if threads == 1 and not on_gpu(options):
        yield from queries(kind, found, options)


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """searchlib and torch on so many threads; torch encoders made meanwhile keep to them."""
    import torch

    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        del os.environ["OMP_NUM_THREADS"]
        if variable is not None:
            os.environ["OMP_NUM_THREADS"] = variable


def queries(kind: Kind, found: dict[str, System], options: argparse.Namespace) -> Iterator[Result]:
    """Milliseconds of one query, when the encoder has answered one before, on one thread."""
    fresh = (
        SparseEncoder(options.sparse_model, "cpu")
        if kind == "sparse"
        else DenseEncoder(options.dense_model, "cpu")
    )
    asks = {name: system.query for name, system in found.items()}
    asks[OURS] = lambda text: fresh.encode_query([text])
    times: dict[str, list[float]] = {name: [] for name in asks}
    with on_threads(1):
        for _ in range(31):
            for name, ask in asks.items():
                started = time.perf_counter()
                ask(QUERY)
                times[name].append(1000 * (time.perf_counter() - started))
    for name, some in times.items():
        yield Result(name, f"{kind} query, warm", 1, "p50_ms", median(some[1:]))


def memory(kind: Kind, texts: list[str], options: argparse.Namespace) -> Iterator[Result]:
    """Peak resident memory over what the process with the loaded model held before."""
    model = options.sparse_model if kind == "sparse" else options.dense_model
    for system in (OURS,) if options.alone else (OURS, SENTENCE_TRANSFORMERS):
        say(f"{kind}: memory of {system}")
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            extra = process.submit(extra_bytes, system, kind, model, texts).result()
        if extra is not None:
            task = f"{kind} documents"
            yield Result(system, task, len(texts), "peak extra MB", extra / 1e6)


def extra_bytes(system: str, kind: Kind, model: str, texts: list[str]) -> int | None:
    """Peak minus initial resident bytes of encoding in this process; None where unknown."""
    made = (searchlib if system == OURS else sentence_transformers)(kind, model, "cpu")
    if made is None:
        return None
    if system != OURS:
        made.encode(["one two three four five"] * 64)
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        return None
    before = _kilobytes(status, "VmRSS")
    made.encode(texts)
    return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, name: str) -> int:
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def indexing(texts: list[str], options: argparse.Namespace) -> Result:
    """Documents a second from text to a committed index with all fields, the models at work."""
    from searchlib import Document, Engine, Settings

    say(f"indexing {len(texts):,} documents")
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    warm = min(64, len(texts) // 2)
    with tempfile.TemporaryDirectory() as folder:
        path, settings = Path(folder) / "some.index", Settings(dense_model=options.dense_model)
        with Engine.create(path, settings, device=options.device) as engine:
            engine.add(documents[:warm])
            started = time.perf_counter()
            engine.add(documents[warm:])
            rate = (len(texts) - warm) / (time.perf_counter() - started)
    return Result(OURS, "indexing, all fields", len(texts), "docs/s", rate)


def measure(options: argparse.Namespace) -> Iterator[Result]:
    """Every figure, for the chosen kinds of encoders."""
    count = options.documents or (12 if options.quick else 8192 if on_gpu(options) else 192)
    rounds = options.rounds or (2 if options.quick else 7)
    texts = documents(count, options.beir)
    if options.index:
        yield indexing(texts, options)
        return
    kinds: list[Kind] = [options.kind] if options.kind else ["sparse", "dense"]
    threads = [cores()] if on_gpu(options) else [1] if options.quick else sorted({1, cores()})
    for kind in kinds:
        for some in threads:
            yield from speed(kind, texts, rounds, some, options)
        if not (options.quick or on_gpu(options)):
            yield from memory(kind, texts, options)


def encoding_rows(quick: bool) -> list[Result]:
    """The figures of this benchmark with its defaults, for a report of several benchmarks."""
    return list(measure(arguments().parse_args(["--quick"] if quick else [])))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    made = parser(__doc__ or "", "python benchmarks/encode.py --kind sparse --rounds 5")
    made.add_argument("--kind", choices=("sparse", "dense"), help="only this (default: both)")
    made.add_argument("--documents", type=int, help="how many (default: 192; on a GPU 8192)")
    made.add_argument("--rounds", type=int, help="measured rounds (default: 7)")
    made.add_argument("--beir", type=Path, help="a BEIR folder to take the documents from")
    made.add_argument("--sparse-model", default=SPARSE_BASE, help="name or folder")
    made.add_argument("--dense-model", default=DENSE_DEFAULT, help="name or folder")
    made.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    made.add_argument("--index", action="store_true", help="index them, and nothing else")
    made.add_argument("--alone", action="store_true", help="without peers")
    return made


def main() -> None:
    options = arguments().parse_args()
    with one_line_errors():
        say(json.dumps(provenance()))
        print_results(measure(options), "encoding")


if __name__ == "__main__":
    main()
