"""The reliability plot of calibration.py: what was said against what came true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BINS = 10
FEWEST = 20  # hits in a bin that is drawn
KINDS = ("own", "off-topic", "gone")
COLOURS = ("#2b6cb0", "#c05621", "#718096")


class Told(Protocol):
    """Probabilities of hits, whether they are relevant, and the best of each query, by kind."""

    @property
    def probabilities(self) -> NDArray[np.float64]: ...

    @property
    def relevant(self) -> NDArray[np.float64]: ...

    @property
    def best(self) -> Mapping[str, NDArray[np.float64]]: ...


def plot(told: Mapping[str, Told], floors: Mapping[str, float], path: Path) -> None:
    """Left: frequency against probability, collection by collection. Right: the best hits'."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 5))
    left.plot([0, 1], [0, 1], color="#a0aec0", linewidth=1, linestyle="--", label="right")
    rows = []
    for name, said in told.items():
        middle, share, counts = reliability(said.probabilities, said.relevant)
        enough = counts >= FEWEST
        left.plot(middle[enough], share[enough], marker="o", markersize=3, linewidth=1, label=name)
        rows.append(np.where(enough, share, np.nan))
    drawn = ~np.isnan(rows).all(axis=0)
    mean = np.nanmean(np.array(rows)[:, drawn], axis=0)
    middles = (np.arange(BINS) + 0.5) / BINS
    left.plot(middles[drawn], mean, color="black", linewidth=2.5, label="mean")
    left.set(xlabel="probability said", ylabel="share judged relevant", xlim=(0, 1), ylim=(0, 1))
    left.set_title("ten best hits, each collection left out of the fit", fontsize=10)
    left.legend(fontsize=8, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    _best(right, told, floors)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _best(axes: Any, told: Mapping[str, Told], floors: Mapping[str, float]) -> None:
    """How the best hit's probability is distributed, each collection weighing the same."""
    edges = np.linspace(0, 1, 26)
    for kind, colour in zip(KINDS, COLOURS, strict=True):
        shares = [
            np.histogram(said.best[kind], edges)[0] / len(said.best[kind])
            for said in told.values()
            if len(said.best[kind])
        ]
        axes.stairs(np.mean(shares, axis=0), edges, color=colour, linewidth=2, label=kind)
    floor = float(np.mean(list(floors.values())))
    axes.axvline(floor, color="black", linewidth=1, linestyle=":", label=f"floor {floor:.2f}")
    axes.set(xlabel="probability of the best hit", ylabel="share of queries", xlim=(0, 1))
    axes.set_title("queries with an answer, off-topic, with the answer gone", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def reliability(
    probabilities: NDArray[np.float64], relevant: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability, share of relevant, and count, of each of ten bins of equal width."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    most = np.maximum(counts, 1)
    said = np.bincount(bins, probabilities, minlength=BINS) / most
    return said, np.bincount(bins, relevant, minlength=BINS) / most, counts
