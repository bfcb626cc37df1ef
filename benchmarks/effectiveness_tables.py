"""What effectiveness.py writes: tables in Markdown, figures in JSON, a plot."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from report import provenance, say

from searchlib.evaluation import Comparison, Results, compare_pooled, holm, parse_measures

PLOTTED = (
    "bm25", "sparse", "lookup", "dense", "RRF bm25 + sparse + dense", "instant", "hybrid",
)  # fmt: skip


@dataclass
class Measured:
    """What has been measured: collection -> system -> results."""

    results: dict[str, dict[str, Results]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # collection -> documents


def compare_with_default(measured: Measured, measures: str) -> dict[str, Comparison]:
    """The default against every other system, over all collections, each weighing the same.

    By the first measure; p values are adjusted for their number (Holm 1979).
    """
    measure_name = parse_measures(measures)[0]

    def values(system: str) -> dict[str, dict[str, float]]:
        return {
            collection: by_system[system].per_query[measure_name]
            for collection, by_system in measured.results.items()
        }

    names = list(next(iter(measured.results.values())))
    if "hybrid" not in names:
        return {}
    return {
        name: compare_pooled(values("hybrid"), values(name), "collections", samples=20_000)
        for name in names
        if name != "hybrid"
    }


def markdown(measured: Measured, comparisons: dict[str, Comparison], source: object) -> str:
    """A table a measure, the comparisons, and the provenance."""
    collections = list(measured.results)
    names = list(measured.results[collections[0]])
    lines = ["# Effectiveness", ""]
    for metric in measured.results[collections[0]][names[0]].mean:
        columns = [[measured.results[c][n].mean[metric] for n in names] for c in collections]
        columns.append([sum(row) / len(row) for row in zip(*columns, strict=True)])
        lines.append(f"| {metric} | " + " | ".join([*collections, "mean"]) + " |")
        lines.append("|---" * (len(columns) + 1) + "|")
        for i, name in enumerate(names):
            cells = [
                f"**{column[i]:.3f}**" if column[i] == max(column) else f"{column[i]:.3f}"
                for column in columns
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    if comparisons:
        import numpy as np

        adjusted = holm(np.array([c.p for c in comparisons.values()]))
        lines += [
            "hybrid against each: difference of the mean of the collections' means, 95 % bootstrap"
            " interval, p of the paired randomisation test (Holm), queries won, lost, equal.",
            "",
            "| hybrid - | difference | interval | p | won | lost | equal |",
            "|---|---|---|---|---|---|---|",
        ]
        for (name, c), p in zip(comparisons.items(), adjusted, strict=True):
            lines.append(
                f"| {name} | {c.difference:+.3f} | {c.low:+.3f} to {c.high:+.3f} | {p:.4f}"
                f" | {c.wins} | {c.losses} | {c.ties} |"
            )
        lines.append("")
    lines += ["```json", json.dumps(source, indent=1), "```", ""]
    return "\n".join(lines)


def write(
    measured: Measured,
    comparisons: dict[str, Comparison],
    settings: dict[str, Any],
    folder: Path,
) -> None:
    """`effectiveness.md`, `.json` and `.png` in the folder for results."""
    source = {**provenance(), "settings": settings, "documents": measured.sizes}
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(measured, comparisons, source)
    (folder / "effectiveness.md").write_text(text, encoding="utf-8")
    metric = next(iter(next(iter(next(iter(measured.results.values())).values())).mean))
    values = {
        collection: {
            name: {"queries": results.queries, **results.mean} for name, results in systems.items()
        }
        for collection, systems in measured.results.items()
    }
    compared = {name: asdict(c) for name, c in comparisons.items()}
    (folder / "effectiveness.json").write_text(
        json.dumps({"provenance": source, "results": values, "hybrid_against": compared}, indent=1),
        encoding="utf-8",
    )
    plot(measured, metric, folder / "effectiveness.png")
    say(f"written: {folder}/effectiveness.md, .json, .png")
    if sys.stdout.isatty():
        print(text)


def plot(measured: Measured, metric: str, path: Path) -> None:
    """Bars: a group a collection, a bar a system; only the systems worth telling apart."""
    try:
        import matplotlib
    except ImportError:
        say("no plot: matplotlib is not installed (pip install 'searchlib[bench]')")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    collections = list(measured.results)
    there = measured.results[collections[0]]
    names = [name for name in PLOTTED if name in there] or list(there)[:6]
    width = 0.8 / len(names)
    figure, axes = plt.subplots(
        figsize=(max(6.0, 1.5 + 1.6 * len(collections)), 4), layout="constrained"
    )
    for i, name in enumerate(names):
        heights = [measured.results[c][name].mean[metric] for c in collections]
        places = [j + (i - (len(names) - 1) / 2) * width for j in range(len(collections))]
        bars = axes.bar(places, heights, width, label=name)
        axes.bar_label(
            bars, [f"{h:.3f}".lstrip("0") for h in heights], fontsize=6, rotation=90, padding=2
        )
    axes.set_xticks(range(len(collections)), collections)
    axes.set_ylabel(metric)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(ncols=3, fontsize=8, frameon=False, loc="outside upper center")
    figure.savefig(path, dpi=150)
    plt.close(figure)
