"""A blended sparse model of tiny ones, with a map of random numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def make_blend(
    folder: Path, base: Path, dense: Path, *, rows: int = 33, columns: int | None = None
) -> Path:
    """A blend of two models, which it names."""
    from safetensors.numpy import save_file
    from tiny_models import WORDS

    from searchlib.encoders.dense import DenseEncoder
    from searchlib.encoders.sparse_layout import read_sparse
    from searchlib.encoders.ternary import Ternary

    (folder / "blend").mkdir(parents=True)
    shape = (rows, len(WORDS) if columns is None else columns)
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_file(Ternary.of(matrix).tensors, folder / "blend" / "model.safetensors")
    config = {
        "sparse": str(base),
        "sparse_digest": read_sparse(base).digest(),
        "dense": str(dense),
        "dense_fingerprint": DenseEncoder(dense).fingerprint,
        "document_share": 0.5,
        "query_share": 0.3,
        "extra_query_terms": 5,
    }
    (folder / "blend" / "blend.json").write_text(json.dumps(config))
    return folder
