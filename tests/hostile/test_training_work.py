"""What a training left in its folder, spoiled: it goes on, or says in one line what to remove."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given

from searchlib.errors import BadInput
from searchlib.training.batch import Batch
from searchlib.training.log import TrainingLog, read_log
from searchlib.training.loop import TrainingSettings, train
from searchlib.training.mining import CandidateLists, read_lists, write_lists
from searchlib.training.objectives import ranking
from searchlib.training.pairs import PseudoQuery, read_pairs, write_pairs
from searchlib.training.publishing import read_judgements
from searchlib.training.work import same_as_begun

Read = Callable[[Path], object]


class Numbers:
    """A model of two numbers, as far as the loop is concerned."""

    def __init__(self) -> None:
        self.own = torch.nn.Parameter(torch.ones(2))

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.own]

    def encode(self, texts: Sequence[str], query: bool) -> torch.Tensor:
        return torch.tensor([[float(len(text)), 1.0] for text in texts]) * self.own

    def scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        return queries @ documents.T


def run(folder: Path) -> float:
    """Two steps, or as many as the folder says are left."""
    batch = Batch(["a", "bb"], ["a", "bb", "ccc"], teacher=np.eye(2, 3, dtype=np.float32))
    settings = TrainingSettings(steps=2, checkpoint_every=1, evaluate_every=1)
    model: Any = Numbers()
    return train(
        model, lambda rng: batch, ranking(model, settings), settings, folder,
        report=lambda entry: None, validate=lambda: float(model.own[0].detach()),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["checkpoint", "best"])
def test_checkpoints(tmp_path: Path, name: str) -> None:
    best = run(tmp_path)
    path = tmp_path / f"{name}.safetensors"
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(files) == {tmp_path / "checkpoint.safetensors", tmp_path / "best.safetensors"}

    @fuzz(60)
    @given(spoiled([files[path]]))
    def trial(data: bytes) -> None:
        for file, good in files.items():
            file.write_bytes(data if file == path else good)
        tried(run, tmp_path)

    trial()
    for file, good in files.items():
        file.write_bytes(good)
    assert run(tmp_path) == best
    path.write_bytes(files[path][:-1])
    with pytest.raises(BadInput, match=rf"is damaged \(.*\); remove {tmp_path}, it will be made"):
        run(tmp_path)


def lists(path: Path) -> None:
    passages = np.arange(12).reshape(3, 4)
    rows = np.ones((3, 2), np.float32)
    own = np.ones(3, np.bool_)
    scores = np.ones((3, 2, 4), np.float32)
    write_lists(path, CandidateLists(("bm25", "dense"), passages, scores, rows, rows, own))


def pairs(path: Path) -> None:
    write_pairs(path, [PseudoQuery("salt", "d1", "title"), PseudoQuery("\ud800", "d2", "crop")])


def log(path: Path) -> None:
    with TrainingLog(path) as made:
        made.write({"step": 1, "loss": 0.5})
        made.write({"step": 2, "loss": 0.25, "ndcg": 0.5})


def judgements(path: Path) -> None:
    figures = {"a": 0.5, "b": 0.4, "difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.01}
    comparison = {**figures, "queries": 9, "wins": 5, "ties": 2, "losses": 2}
    known = {field: comparison[field] for field in comparison if field in fields_of_comparison()}
    path.write_text(json.dumps([{"queries": "q", "measure": "nDCG@10", "comparison": known}]))


def fields_of_comparison() -> list[str]:
    from dataclasses import fields

    from searchlib.evaluation.compare import Comparison

    return [field.name for field in fields(Comparison)]


def plan(path: Path) -> None:
    same_as_begun(path, PLAN)


PLAN = {"kind": "sparse", "mining": {"seed": 0}}
FILES: dict[str, tuple[Callable[[Path], None], Read]] = {
    "lists.npz": (lists, read_lists),
    "pairs.jsonl": (pairs, read_pairs),
    "log.jsonl": (log, read_log),
    "judgements.json": (judgements, read_judgements),
    "plan.json": (plan, lambda path: same_as_begun(path, PLAN)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_work_folder(tmp_path: Path, name: str) -> None:
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    read(path)
    good = path.read_bytes()

    @fuzz(150)
    @given(spoiled([good]))
    def trial(data: bytes) -> None:
        path.write_bytes(data)
        tried(read, path)

    trial()


def tried(read: Read, path: Path) -> None:
    """Something is read, or one line of ours says that it cannot be."""
    with time_limit(), np.errstate(all="ignore"):
        try:
            read(path)
        except OURS as error:
            one_line(error)
