"""Learned factors of a query's terms, in a folder beside a sparse model's files.

Documents are what they are without: so an index need not be made anew for them. Other readers
open the folder as the plain model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UnsupportedModel
from .activations import Array
from .terms import Terms
from .weights import Weights

FOLDER = "gains"  # in a sparse model's
TENSOR = "gains"


def read_gains(folder: Path) -> Array | None:
    """The factors (V,) > 0 of a model's vocabulary, float32; None for a plain model.

    Raises UnsupportedModel for what are no factors.
    """
    path = folder / FOLDER
    if not path.is_dir():
        return None
    found = Weights(path).get(TENSOR)
    if found is None or found.ndim != 1 or found.dtype.kind != "f":
        raise UnsupportedModel(f"{path} holds no row of factors of terms; get the model anew")
    gains: Array = found.astype(np.float32)
    if not (np.isfinite(gains).all() and (gains > 0).all()):
        raise UnsupportedModel(f"{path} holds factors that are not above 0; get the model anew")
    return gains


def gained(found: Sequence[Terms], gains: Array) -> list[Terms]:
    """The terms, each weight times its factor.

    >>> gained([Terms(np.array([2]), np.array([3.0]))], np.array([1.0, 1.0, 0.5]))[0].weights
    array([1.5])
    """
    return [Terms(t.ids, t.weights * gains[t.ids], t.positions) for t in found]
