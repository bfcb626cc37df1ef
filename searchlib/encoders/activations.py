"""Elementwise functions of networks on float32 arrays, without scipy.

GELU: Hendrycks and Gimpel 2016 (arXiv:1606.08415).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# erf(x) = x P(x^2) / Q(x^2) on [-4, 4], the float32 fit of Eigen and XLA; error below 3e-7
_P = np.array(
    [-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
     -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02], np.float32)  # fmt: skip
_Q = np.array(
    [-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03,
     -7.37332916720468e-03, -1.42647390514189e-02], np.float32)  # fmt: skip


def erf(x: Array) -> Array:
    """The error function, elementwise, within 3e-7."""
    x = np.clip(x, np.float32(-4), np.float32(4))
    square: Array = x * x
    return x * _polynomial(square, _P) / _polynomial(square, _Q)


def _polynomial(x: Array, coefficients: Array) -> Array:
    result: Array = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        result += coefficient
        result *= x
    result += coefficients[-1]
    return result


def gelu(x: Array) -> Array:
    """x * Phi(x), with the normal distribution function."""
    out: Array = erf(x * np.float32(math.sqrt(0.5)))
    out += np.float32(1)
    out *= x
    out *= np.float32(0.5)
    return out


def _gelu_tanh(x: Array) -> Array:
    inner: Array = x + np.float32(0.044715) * x * x * x
    result: Array = x * (np.float32(1) + np.tanh(np.float32(math.sqrt(2 / math.pi)) * inner))
    return result * np.float32(0.5)


def _relu(x: Array) -> Array:
    return np.maximum(x, np.float32(0))


def _sigmoid(x: Array) -> Array:
    result: Array = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * x))
    return result


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


def _tanh(x: Array) -> Array:
    return np.tanh(x)


def _identity(x: Array) -> Array:
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "identity": _identity,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "tanh": _tanh,
}
"""Elementwise functions on float32 arrays, by the names that configurations use."""
