"""The plot of scale.py: building, size, memory and query times over the number of documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Result

RETRIEVERS = ("bm25", "sparse", "dense", "hybrid")
COLOURS = {"bm25": "#4477aa", "sparse": "#228833", "dense": "#ee6677", "hybrid": "#222222"}


def draw(results: Sequence[Result], path: Path) -> None:
    """Four panels, logarithmic both ways, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.4), layout="constrained")
    times, tails, building, bytes_ = axes.flat
    for name in RETRIEVERS:
        _line(times, results, f"searchlib {name}", "p50_ms", name, COLOURS[name])
        _line(tails, results, f"searchlib {name}", "p99_ms", name, COLOURS[name])
    times.set(title="query, median", ylabel="ms")
    tails.set(title="query, 99th percentile", ylabel="ms")
    _line(building, results, "searchlib", "build s", "wall", COLOURS["hybrid"])
    _line(building, results, "searchlib", "build CPU s", "CPU", COLOURS["bm25"])
    building.set(title="building all fields, vectors given", ylabel="s")
    _line(bytes_, results, "searchlib", "index MB", "index on disk", COLOURS["hybrid"])
    _line(bytes_, results, "searchlib", "peak MB", "peak memory, building", COLOURS["dense"])
    _line(
        bytes_, results, "searchlib", "peak MB of queries", "peak memory, asking", COLOURS["bm25"]
    )
    bytes_.set(title="size and memory", ylabel="MB")
    for panel in axes.flat:
        panel.set(xscale="log", yscale="log", xlabel="documents")
        panel.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panel.yaxis.set_minor_formatter(ticker.NullFormatter())
        panel.grid(alpha=0.3, which="both", linewidth=0.5)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _line(
    panel: Any, results: Sequence[Result], *line: str
) -> None:  # system, metric, label, colour
    system, metric, label, colour = line
    points = sorted(
        (result.size or 0, result.value)
        for result in results
        if result.system == system and result.metric == metric
    )
    if points:
        panel.plot(*zip(*points, strict=True), "o-", label=label, color=colour, markersize=4)
