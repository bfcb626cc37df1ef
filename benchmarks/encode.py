"""How fast are texts encoded, against sentence-transformers, and with how much memory?

Both encode the same documents in one process, turn by turn, so that a busy machine is busy for
both; reported is the median of the rounds, and the median of the rounds' ratios. The same cut of
texts, each with its own defaults (sentence-transformers: batches of 32). Peak memory is measured
in processes of their own, over what the loaded model holds. Documents by default: docstrings of
this Python, joined to 64-256 word-pieces.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from demo import docstrings
from numpy.typing import NDArray
from report import Result, one_line_errors, parser, print_results, provenance, say

from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.models import DENSE_DEFAULT, SPARSE_DEFAULT
from searchlib.encoders.sparse import SparseEncoder

Kind = Literal["sparse", "dense"]
Encode = Callable[[list[str]], Any]
OURS, PEER = "searchlib", "sentence-transformers"
TOKENS = 256  # texts are cut there
WARM_UP = {"sparse": 3000, "dense": 1300}  # short texts
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


def encoder(system: str, kind: Kind, model: str, device: str | None) -> Encode:
    """A function from texts to vectors, with the model loaded and torch warm."""
    if system == OURS:
        made = (
            SparseEncoder(model, device, TOKENS)
            if kind == "sparse"
            else DenseEncoder(model, device, TOKENS)
        )
        encode: Encode = made.encode_document
    else:
        encode = peer(kind, model, device)
    # subtle: searchlib loads torch only where there is much to encode; so much is enough
    encode(["one two three four five"] * (WARM_UP[kind] if system == OURS else 64))
    return encode


def peer(kind: Kind, model: str, device: str | None) -> Encode:
    """sentence-transformers' encode, cutting texts at TOKENS."""
    import sentence_transformers
    from transformers.utils import logging

    from searchlib.encoders.models import resolve

    logging.disable_progress_bar()
    path = str(resolve(model).path)
    made = (
        sentence_transformers.SparseEncoder(path, device=device)
        if kind == "sparse"
        else sentence_transformers.SentenceTransformer(path, device=device)
    )
    made.max_seq_length = TOKENS
    return lambda texts: made.encode(texts, batch_size=32, show_progress_bar=False)


def speed(
    kind: Kind, texts: list[str], rounds: int, options: argparse.Namespace
) -> Iterator[Result]:
    """Documents a second of both, their ratio, and how far their vectors lie apart."""
    model = options.sparse_model if kind == "sparse" else options.dense_model
    systems = (OURS,) if options.alone else (OURS, PEER)
    encoders = {system: encoder(system, kind, model, options.device) for system in systems}
    wall: dict[str, list[float]] = {system: [] for system in systems}
    cpu: dict[str, list[float]] = {system: [] for system in systems}
    results: dict[str, Any] = {}
    for number in range(rounds):
        say(f"{kind}: round {number + 1} of {rounds}")
        for system in systems if number % 2 else reversed(systems):
            started, used = time.perf_counter(), time.process_time()
            results[system] = encoders[system](texts)
            wall[system].append(time.perf_counter() - started)
            cpu[system].append(time.process_time() - used)
    task, size = f"{kind} documents", len(texts)
    for system in systems:
        yield Result(system, task, size, "documents/s", size / median(wall[system]))
        yield Result(system, task, size, "documents/CPU s", size / median(cpu[system]))
    if options.alone:
        return
    pairs = zip(wall[PEER], wall[OURS], strict=True)
    yield Result(OURS, task, size, "times as fast", median(b / a for b, a in pairs))
    pairs = zip(cpu[PEER], cpu[OURS], strict=True)
    yield Result(OURS, task, size, "times less CPU", median(b / a for b, a in pairs))
    apart = difference(kind, results[OURS], results[PEER], model)
    yield Result(OURS, task, size, "largest difference", apart)


def difference(kind: Kind, ours: Any, theirs: Any, model: str) -> float:
    """The largest difference between two systems' weights."""
    if kind == "dense":
        return float(np.abs(ours - theirs).max())
    tokenizer = SparseEncoder(model).tokenizer
    ids = [tokenizer.id(term) for term in ours.terms]
    largest = 0.0
    for row in range(len(ours)):
        expected: NDArray[np.float32] = theirs[row].to_dense().cpu().numpy().copy()
        part = slice(int(ours.indptr[row]), int(ours.indptr[row + 1]))
        columns = [ids[column] for column in ours.indices[part].tolist()]
        expected[columns] -= ours.values[part]
        largest = max(largest, float(np.abs(expected).max()))
    return largest


def queries(kind: Kind, options: argparse.Namespace) -> Iterator[Result]:
    """Milliseconds of one query, when the encoder has answered one before."""
    made = (
        SparseEncoder(options.sparse_model, "cpu")
        if kind == "sparse"
        else DenseEncoder(options.dense_model, "cpu")
    )
    made.encode_query([QUERY])
    times = []
    for _ in range(50):
        started = time.perf_counter()
        made.encode_query([QUERY])
        times.append(1000 * (time.perf_counter() - started))
    yield Result(OURS, f"{kind} query", 1, "ms (median)", median(times))


def memory(kind: Kind, texts: list[str], options: argparse.Namespace) -> Iterator[Result]:
    """Peak resident memory over what the process with the loaded model held before."""
    model = options.sparse_model if kind == "sparse" else options.dense_model
    for system in (OURS,) if options.alone else (OURS, PEER):
        say(f"{kind}: memory of {system}")
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            extra = process.submit(extra_bytes, system, kind, model, texts).result()
        if extra is not None:
            task = f"{kind} documents"
            yield Result(system, task, len(texts), "peak extra MB", extra / 1e6)


def extra_bytes(system: str, kind: Kind, model: str, texts: list[str]) -> int | None:
    """Peak minus initial resident bytes of encoding in this process; None where unknown."""
    encode = encoder(system, kind, model, "cpu")
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        return None
    before = _kilobytes(status, "VmRSS")
    encode(texts)
    return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, name: str) -> int:
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure(options: argparse.Namespace) -> Iterator[Result]:
    """Every figure, for the chosen kinds of encoders."""
    count = options.documents or (24 if options.quick else 192)
    rounds = options.rounds or (2 if options.quick else 7)
    texts = documents(count, options.beir)
    kinds: list[Kind] = [options.kind] if options.kind else ["sparse", "dense"]
    for kind in kinds:
        yield from speed(kind, texts, rounds, options)
        yield from queries(kind, options)
        if not options.quick:
            yield from memory(kind, texts, options)


def main() -> None:
    made = parser(__doc__ or "", "python benchmarks/encode.py --kind sparse --rounds 5")
    made.add_argument("--kind", choices=("sparse", "dense"), help="only this (default: both)")
    made.add_argument("--documents", type=int, help="how many (default: 192)")
    made.add_argument("--rounds", type=int, help="measured rounds (default: 7)")
    made.add_argument("--beir", type=Path, help="a BEIR folder to take the documents from")
    made.add_argument("--sparse-model", default=SPARSE_DEFAULT, help="name or folder")
    made.add_argument("--dense-model", default=DENSE_DEFAULT, help="name or folder")
    made.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    made.add_argument("--alone", action="store_true", help="without sentence-transformers")
    options = made.parse_args()
    with one_line_errors():
        say(json.dumps(provenance()))
        print_results(measure(options), "encoding")


if __name__ == "__main__":
    main()
