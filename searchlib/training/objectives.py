"""What a training step is to achieve: the loss of a batch, and figures for the log."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from . import losses
from .batch import Batch
from .loop import State, TrainingSettings
from .mlm import MaskedTexts
from .models import Trainable, TrainableSparse

Ranking = Callable[[Batch, State], tuple[Tensor, dict[str, float]]]
Reading = Callable[[MaskedTexts, State], tuple[Tensor, dict[str, float]]]


def ranking(model: Trainable, settings: TrainingSettings) -> Ranking:
    """To rank as a teacher or judgements do: KL divergence, or contrast; sparse vectors also to
    have few terms (FLOPS, with a quadratic ramp)."""

    def objective(batch: Batch, state: State) -> tuple[Tensor, dict[str, float]]:
        queries = model.encode(batch.queries, query=True)
        documents = model.encode(batch.documents, query=False)
        scores = model.scores(queries, documents)
        if batch.teacher is not None:
            teacher = torch.from_numpy(batch.teacher).to(scores.device)
            state.scale = state.scale or settings.scale or _spread(teacher) / _spread(scores)
            scaled = scores * (state.scale / settings.temperature)
            loss = losses.divergence(scaled, teacher, settings.temperature)
        else:
            assert batch.positives is not None
            state.scale = state.scale or settings.scale or 3.0 / _spread(scores)
            positives = torch.from_numpy(batch.positives).to(scores.device)
            loss = losses.contrast(scores * state.scale, positives)
        values = {"ranking_loss": float(loss.detach())}
        if isinstance(model, TrainableSparse):
            work = losses.flops(queries) + losses.flops(documents)
            ramp = losses.quadratic_ramp(state.step, settings.steps // 3)
            loss = loss + settings.flops * ramp * work
            values["flops"] = float(work.detach())
            values["document_terms"] = float((documents > 0).sum(1).float().mean())
            values["query_terms"] = float((queries > 0).sum(1).float().mean())
        return loss, values

    return objective


def reading(model: TrainableSparse, before: TrainableSparse, replay: float) -> Reading:
    """To guess hidden words, and yet to make of whole texts what the model made of them before.

    A sparse model's head says which words belong to a text, not which one stands at a place;
    guessing alone unlearns that. `replay` weighs the squared distance to the vectors of `before`.
    """

    def objective(batch: MaskedTexts, state: State) -> tuple[Tensor, dict[str, float]]:
        surprise = model.surprise(batch.masked)
        with torch.no_grad():
            wanted = before.encode(batch.replayed, query=False)
        moved = (model.encode(batch.replayed, query=False) - wanted).square().sum(1).mean()
        values = {"surprise": float(surprise.detach()), "moved": float(moved.detach())}
        return surprise + replay * moved, values

    return objective


def _spread(scores: Tensor) -> float:
    return max(float(scores.detach().std(dim=1).mean()), 1e-6)
