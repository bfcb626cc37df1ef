"""Half of the way: weights between those that were and those that training made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapting import MAKING, corpus_of, small
from safetensors.numpy import load_file

from searchlib import Engine, Settings
from searchlib.errors import BadQuery
from searchlib.training.finetune import FinetuneSettings, finetune
from searchlib.training.making import MakingSettings


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_half_of_the_way_is_half_of_the_way(
    tmp_path: Path, tiny_dense: Path, tiny_sparse: Path, kind: str
) -> None:
    documents = corpus_of(24)
    topics = {str(i): document.title for i, document in enumerate(documents)}
    qrels = {str(i): {document.id: 1} for i, document in enumerate(documents)}
    models = {"dense": tiny_dense, "sparse": tiny_sparse}
    index = tmp_path / "index"
    settings = Settings(dense_model=str(tiny_dense), sparse_model=str(tiny_sparse))
    with Engine.create(index, settings) as engine:
        engine.add(documents)
    found = {}
    for share in (1.0, 0.5):
        chosen = replace(
            small(FinetuneSettings()),
            kind=kind,
            whole=True,
            making=replace(MAKING, share=share),
            seed=2,  # one by which a checkpoint is better than none
        )
        work = tmp_path / f"work{share}"
        finetune(index, topics, qrels, tmp_path / f"model{share}", chosen, work=work)
        found[share] = load_file(next(work.rglob("model/model.safetensors")))
    before = load_file(models[kind] / "model.safetensors")
    moved = 0.0
    for name, whole in found[1.0].items():
        middle = (before[name] + whole) / 2
        np.testing.assert_allclose(found[0.5][name], middle, atol=1e-6)
        moved = max(moved, float(np.abs(whole - before[name]).max()))
    assert moved > 1e-3


def test_finetuning_goes_half_of_the_way_and_says_so() -> None:
    assert FinetuneSettings().making.share == 0.5
    assert MakingSettings().share == 1.0
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(BadQuery, match="share"):
            MakingSettings(share=share)
