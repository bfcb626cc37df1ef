"""The one training loop: sparse and dense, whatever a step is to achieve (`objectives.py`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import check_seed
from .artefacts import filling, sync_folder, undamaged

_STATE = ("exp_avg", "exp_avg_sq")  # what AdamW remembers of a parameter


Drawn = TypeVar("Drawn")


class Trained(Protocol):
    """What has weights."""

    def parameters(self) -> list[torch.nn.Parameter]: ...


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    `learning_rate` rises over the first tenth of `steps` and falls to nothing. `temperature`
    divides the teacher's scores: the smaller, the more its best count. `flops`: weight of the
    FLOPS regulariser of sparse vectors, reached after a third of the steps. `scale`: of
    the student's scores, or None: the teacher's spread over the student's on the first batch.
    `checkpoint_every` steps the whole state is written; `evaluate_every` steps a validation runs.
    """

    steps: int = 300
    learning_rate: float = 1e-4
    temperature: float = 0.5
    flops: float = 0.02
    scale: float | None = None
    seed: int = 0
    checkpoint_every: int = 50
    evaluate_every: int = 100
    patience: int = 3  # validations without a gain before it stops

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass
class State:
    """How far a training is. `scale`: what an objective multiplies scores by, once it is known."""

    step: int = 0
    scale: float = 0.0
    best: float = -1.0
    best_step: int = 0
    seconds: float = 0.0


def train(
    model: Trained,
    draw: Callable[[np.random.Generator], Drawn],
    objective: Callable[[Drawn, State], tuple[Tensor, dict[str, float]]],
    settings: TrainingSettings,
    folder: Path,
    *,
    report: Callable[[dict[str, Any]], None],
    validate: Callable[[], float] | None = None,
) -> float:
    """Train `model` in place, and return the best validation's value (0 without one).

    `draw` makes step i's batch from a generator seeded by (seed, i), `objective` the loss of a
    batch, and figures for the log. `folder` holds the
    checkpoint; a run that was cut off goes on from it as if it had never stopped. `validate`
    measures the model (more is better); the weights of the best measurement are those that
    remain. `report` gets {"step", "loss", ...} of each step and {"step", "validation"}.
    """
    parameters = model.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.01)
    state = _restore(parameters, optimizer, settings, folder) or State()
    if validate is not None and state.step == 0:
        _measure(validate, parameters, state, folder, report)
    while state.step < settings.steps:
        if state.best_step + settings.patience * settings.evaluate_every <= state.step and validate:
            break
        began = time.monotonic()
        batch = draw(np.random.default_rng([settings.seed, state.step]))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(state.step, settings.steps)
        values = _step(parameters, optimizer, *objective(batch, state))
        state.step += 1
        state.seconds += time.monotonic() - began
        report({"step": state.step, **values, "seconds": round(state.seconds, 2)})
        if validate is not None and (
            state.step % settings.evaluate_every == 0 or state.step == settings.steps
        ):
            _measure(validate, parameters, state, folder, report)
        if state.step % settings.checkpoint_every == 0 or state.step == settings.steps:
            _checkpoint(parameters, optimizer, settings, state, folder)
    if validate is None:
        return 0.0
    _load(parameters, folder / "best.safetensors")
    return state.best


def rate(step: int, steps: int) -> float:
    """The learning rate's share at a step: up over the first tenth, then down to 0, linearly."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (steps - step) / max(1, steps - rise)


def _step(
    parameters: list[Any],
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    values: dict[str, float],
) -> dict[str, float]:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return {"loss": float(loss.detach()), **values}


def _measure(
    validate: Callable[[], float],
    parameters: list[Any],
    state: State,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
) -> None:
    value = validate()
    report({"step": state.step, "validation": value})
    if value > state.best:
        state.best, state.best_step = value, state.step
        _save({str(i): p.detach() for i, p in enumerate(parameters)}, folder / "best.safetensors")


def _checkpoint(
    parameters: list[Any],
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    state: State,
    folder: Path,
) -> None:
    tensors = {str(i): p.detach() for i, p in enumerate(parameters)}
    for i, parameter in enumerate(parameters):
        for name in _STATE:
            if name in optimizer.state[parameter]:
                tensors[f"{i}.{name}"] = optimizer.state[parameter][name]
    said = {"state": asdict(state), "settings": asdict(settings)}
    _save(tensors, folder / "checkpoint.safetensors", {"searchlib": json.dumps(said)})


def _restore(
    parameters: list[Any],
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    folder: Path,
) -> State | None:
    """The state of a run with the same settings that was cut off, put in place."""
    path = folder / "checkpoint.safetensors"
    if not path.is_file():
        return None
    from safetensors import safe_open

    with undamaged(path, str(folder)):
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["searchlib"])
        if said["settings"] != asdict(settings):
            return None
        state = State(**said["state"])
        tensors = _load(parameters, path)
        for i, parameter in enumerate(parameters):
            if f"{i}.{_STATE[0]}" in tensors:
                kept = {name: tensors[f"{i}.{name}"].to(parameter.device) for name in _STATE}
                optimizer.state[parameter] = {"step": torch.tensor(float(state.step)), **kept}
    return state


def _load(parameters: list[Any], path: Path) -> dict[str, Tensor]:
    with undamaged(path, str(path.parent)), torch.no_grad():
        tensors: dict[str, Tensor] = load_file(path)
        for i, parameter in enumerate(parameters):
            parameter.copy_(tensors[str(i)])
    return tensors


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    # a file is whole or not there: training may be killed while it writes
    temporary = path.with_suffix(".tmp")
    with filling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
