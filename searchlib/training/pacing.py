"""How many steps of a training fit into a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from .artefacts import write_whole
from .loop import Trained, TrainingSettings
from .work import once

_TRIED = 3  # batches that tell how long a step takes


def affordable(
    path: Path,
    model: Trained,
    settings: TrainingSettings,
    seconds: float | None,
    loss: Callable[[np.random.Generator], torch.Tensor],
) -> int:
    """How many steps of those wanted fit into a time, told by a few of them; at least one.

    Kept at `path`, so that a run that goes on has as many.
    """

    def number() -> int:
        if seconds is None or not settings.steps:
            return settings.steps
        times = []
        for trial in range(_TRIED):
            began = time.monotonic()
            loss(np.random.default_rng([settings.seed, trial])).backward()
            times.append(time.monotonic() - began)
        for parameter in model.parameters():
            parameter.grad = None
        left = seconds - sum(times)
        return int(max(1, min(settings.steps, left / (1.3 * float(np.median(times))))))

    return once(
        path,
        number,
        lambda path, steps: write_whole(path, json.dumps(steps).encode()),
        lambda path: int(json.loads(path.read_bytes())),
    )
