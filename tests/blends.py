"""A blended sparse model of tiny ones, with a map of random numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np


def make_blend(
    folder: Path, base: Path, dense: Path, *, rows: int = 33, columns: int | None = None
) -> Path:
    """A copy of a sparse model with a blend beside, of another dense model."""
    from safetensors.numpy import save_file
    from tiny_models import WORDS

    from searchlib.encoders.dense import DenseEncoder

    shutil.copytree(base, folder)
    (folder / "blend").mkdir()
    shape = (rows, len(WORDS) if columns is None else columns)
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    save_file({"weight": matrix}, folder / "blend" / "model.safetensors")
    config = {
        "dense": str(dense),
        "dense_fingerprint": DenseEncoder(dense).fingerprint,
        "document_share": 0.5,
        "query_share": 0.3,
        "extra_query_terms": 5,
    }
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    return folder
