"""Reading a corpus: what is guessed, what is kept, and that a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapting import corpus_of, small
from torch.nn import functional

from searchlib import Engine, Settings
from searchlib.errors import BadQuery
from searchlib.training.adapt import AdaptSettings, adapt
from searchlib.training.log import read_log
from searchlib.training.loop import State
from searchlib.training.mlm import IGNORED, MaskedBatch, MaskedTexts
from searchlib.training.models import TrainableSparse
from searchlib.training.objectives import reading
from searchlib.training.reading import ReadingSettings


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Settings) -> Iterator[Engine]:
    with Engine.create(tmp_path_factory.mktemp("reading") / "i", tiny_settings) as made:
        made.add(corpus_of(40))
        yield made


def masked() -> MaskedBatch:
    ids = np.array([[2, 7, 4, 9, 3], [2, 4, 3, 0, 0]])
    labels = np.full_like(ids, IGNORED)
    labels[0, 2], labels[1, 1] = 8, 6
    return MaskedBatch(ids, (ids > 0).astype(np.int64), labels)


def test_surprise_is_the_cross_entropy_of_all_logits(tiny_sparse: Path) -> None:
    from transformers import AutoModelForMaskedLM

    batch = masked()
    whole = AutoModelForMaskedLM.from_pretrained(tiny_sparse).eval()
    with torch.no_grad():
        logits = whole(
            input_ids=torch.from_numpy(batch.ids), attention_mask=torch.from_numpy(batch.attention)
        ).logits
    expected = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), torch.from_numpy(batch.labels).reshape(-1)
    )
    model = TrainableSparse(tiny_sparse, 32)
    assert float(model.surprise(batch).detach()) == pytest.approx(float(expected), rel=1e-5)
    nothing = MaskedBatch(batch.ids, batch.attention, np.full_like(batch.ids, IGNORED))
    assert float(model.surprise(nothing).detach()) == 0


def test_replay_holds_the_vectors_where_they_were(tiny_sparse: Path) -> None:
    texts = ["the cat sleeps in the river", "yeast and bread"]

    def read(replay: float) -> tuple[float, float]:
        model, before = TrainableSparse(tiny_sparse, 32), TrainableSparse(tiny_sparse, 32)
        objective = reading(model, before, replay)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(30):
            loss, values = objective(MaskedTexts(masked(), texts), State())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            moved = (model.encode(texts, False) - before.encode(texts, False)).square().sum()
        assert set(values) == {"surprise", "moved"}
        return float(moved), float(model.surprise(masked()).detach())

    first = float(TrainableSparse(tiny_sparse, 32).surprise(masked()).detach())
    (far, one), (near, other) = read(0.0), read(1.0)
    assert near < far / 2
    assert max(one, other) < first


def adapted(
    engine: Engine, folder: Path, name: str, **changes: Any
) -> tuple[Any, dict[str, torch.Tensor]]:
    """The outcome, and the new model's weights, better or not."""
    from safetensors.torch import load_file

    settings = small(AdaptSettings())
    read = ReadingSettings(steps=6, learning_rate=1e-3, texts=4, replayed=2)
    making = replace(settings.making, reading=replace(read, **changes))
    outcome = adapt(engine.path, folder / name, replace(settings, making=making),
                    work=folder / f"{name}.work")  # fmt: skip
    return outcome, load_file(folder / f"{name}.work" / "model" / "model.safetensors")


def test_reading_is_logged_and_repeatable(engine: Engine, tmp_path: Path) -> None:
    _, first = adapted(engine, tmp_path, "one")
    _, second = adapted(engine, tmp_path, "two")
    _, without = adapted(engine, tmp_path, "none", steps=0)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], without[name]) for name in first)
    entries = read_log(tmp_path / "one.work" / "reading.jsonl")
    assert [entry["step"] for entry in entries if "surprise" in entry] == [1, 2, 3, 4, 5, 6]
    assert sum("validation" in entry for entry in entries) == 4  # before, and thrice on the way
    assert not (tmp_path / "none.work" / "reading.jsonl").exists()


def test_a_killed_run_reads_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = adapted(engine, tmp_path, "whole")
    taken = TrainableSparse.surprise
    calls = 0

    def dying(model: TrainableSparse, batch: MaskedBatch) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return taken(model, batch)

    monkeypatch.setattr(TrainableSparse, "surprise", dying)
    with pytest.raises(KeyboardInterrupt):
        adapted(engine, tmp_path, "cut")
    _, again = adapted(engine, tmp_path, "cut")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert calls == 4 + 4  # a checkpoint every second step: steps 3 to 6


def test_steps_that_make_no_sense_are_refused(engine: Engine, tmp_path: Path) -> None:
    defaults = AdaptSettings()
    reads = replace(defaults.making, reading=ReadingSettings(steps=1))
    idle = replace(defaults.making, training=replace(defaults.making.training, steps=0))
    for settings, message in (
        (replace(defaults, kind="dense", making=reads), "only a sparse model"),
        (replace(defaults, making=idle), "nothing to do"),
    ):
        with pytest.raises(BadQuery, match=message):
            adapt(engine.path, tmp_path / "m", settings)
    assert not list(tmp_path.iterdir())


def test_illegal_reading_is_refused() -> None:
    for values in ({"steps": -1}, {"texts": 0}, {"replayed": 17}):
        with pytest.raises(BadQuery, match="illegal reading"):
            ReadingSettings(**values)
