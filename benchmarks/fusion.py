"""Does fusion know when to trust whom? Single retrievers, fixed fusions, the default that adapts.

For every collection: nDCG@10 of each; of the default, and of every setting around it: with fixed
weights, with weights that adapt to each query, and smoothed over neighbours too. Then
leave-one-collection-out: the setting is chosen on all other collections and measured on the one
left out, which is what a user's own collection is. Differences come with 95 % bootstrap intervals,
each collection weighing the same. On a terminal: Markdown; piped: JSON Lines. With --quick: 20
queries a collection.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from effectiveness import (
    QUERIES_AT_ONCE,
    add_collections,
    add_place,
    chosen_collections,
    drawn,
    opened,
)
from fusions import Remembered, equal
from report import Result, judged, one_line_errors, parser, print_results, provenance, say

from searchlib import Engine
from searchlib.errors import BadQuery
from searchlib.evaluation import Collection, compare_pooled, evaluate, run_of, themselves
from searchlib.fused import Fused
from searchlib.fusion import z_score
from searchlib.scorer import Scorer

MEASURE = "nDCG@10"
SINGLE = ("bm25_passage", "sparse", "dense")
DEFAULT, FIXED = "hybrid", "z 0.5 bm25 + 0.5 sparse + dense"  # the best fixed one published here
GAIN, LOSS = 0.015, -0.005  # wanted of the default: against FIXED; against the best single one
PerQuery = Mapping[str, float]


@dataclass(frozen=True)
class Setting:
    """One point of the grid from which leave-one-out chooses."""

    bm25: float
    sparse: float
    sharpness: float = 0.0
    agreement: float = 0.0
    matchless: float = 0.0
    smoothing: float = 0.0

    @property
    def adapts(self) -> bool:
        """Whether its weights depend on the query."""
        return self.sharpness + self.agreement + self.matchless > 0

    @property
    def kind(self) -> str:
        """Under which heading leave-one-out has it."""
        if self.smoothing:
            return "smoothed"
        return "adaptive" if self.adapts else "fixed"

    def of(self, default: Fused) -> Fused:
        """The default fusion with this setting."""
        rates = (self.sharpness, self.agreement, self.matchless)
        assert default.trust is not None
        assert default.smoothing is not None
        smoothing = replace(default.smoothing, share=self.smoothing) if self.smoothing else None
        return replace(
            default,
            smoothing=smoothing,
            weights=(self.bm25, self.sparse, 1.0),
            trust=replace(
                default.trust, sharpness=rates[0], agreement=rates[1], matchless=rates[2]
            ),
        )


GRID = tuple(
    Setting(bm25, sparse, *rates, smoothing)
    for bm25, sparse, smoothing in itertools.product((0.3, 0.45), (0.2, 0.3), (0.0, 0.2, 0.3, 0.4))
    for rates in itertools.product((0.0, 2.0), (0.0, 0.8), (0.0, 3.0))
)


@dataclass
class Measured:
    """nDCG@10 of every query, of one collection."""

    systems: dict[str, PerQuery]
    grid: dict[Setting, PerQuery]


def arguments() -> argparse.Namespace:
    made = parser(__doc__ or "", "python benchmarks/fusion.py --data path/to/beir")
    add_collections(made)
    made.add_argument("--split", help="which judgements (default: test, else dev)")
    made.add_argument("--queries", type=int, help="at most so many queries a collection, drawn")
    made.add_argument("--no-grid", action="store_true", help="without leave-one-collection-out")
    made.add_argument("--dense-model", help="a folder or a name")
    made.add_argument("--sparse-model", help="a folder or a name")
    add_place(made)
    return made.parse_args()


def main() -> None:
    options = arguments()
    with one_line_errors():
        folders = dict(vars(options), quick=False)  # --quick means fewer queries here
        collections = chosen_collections(argparse.Namespace(**folders), options.split)
        say(json.dumps(provenance()))
        measured = {c.name: measure(c, options) for c in collections}
        if sys.stdout.isatty():
            print(markdown(measured))
        else:
            print_results(results(measured))


def measure(collection: Collection, options: argparse.Namespace) -> Measured:
    """Every system, and every setting of the grid, over one collection."""
    from searchlib import Settings

    topics, qrels = drawn(collection, options, options.split)
    defaults = Settings()
    settings = Settings(
        dense_model=options.dense_model or defaults.dense_model,
        sparse_model=options.sparse_model or defaults.sparse_model,
    )
    with opened(collection, settings, options.cache, options.device) as engine:
        systems, grid, memories = scorers(engine)
        if options.no_grid:
            grid = {}
        runs: dict[object, dict[str, dict[str, float]]] = {key: {} for key in (*systems, *grid)}
        own = themselves(engine.snapshot, topics, qrels)
        ids = list(topics)
        for start in range(0, len(ids), QUERIES_AT_ONCE):
            block = ids[start : start + QUERIES_AT_ONCE]
            texts = [topics[id] for id in block]
            for key, scorer in itertools.chain(systems.items(), grid.items()):
                rankings = engine.rank(texts, 11, retriever=scorer)
                runs[key].update(run_of(block, rankings, k=10, themselves=own))
            for memory in memories:
                memory.forget()
            say(f"{collection.name}: {start + len(block)} of {len(ids)} queries")
    values = {key: evaluate(qrels, run, MEASURE).per_query[MEASURE] for key, run in runs.items()}
    return Measured({k: values[k] for k in systems}, {k: values[k] for k in grid})


def scorers(engine: Engine) -> tuple[dict[str, Scorer], dict[Setting, Scorer], list[Remembered]]:
    """The systems by name, the grid by setting, and the memories that they share.

    Raises BadQuery for an index that lacks one of the three representations.
    """
    default = engine.retriever(DEFAULT)
    if not isinstance(default, Fused) or len(default.parts) != len(SINGLE):
        raise BadQuery("fusion is measured with a sparse and a dense model; the index lacks one")
    parts = {part.name: Remembered(part) for part in default.parts}
    three = list(parts.values())
    default = replace(default, parts=tuple(three))
    systems: dict[str, Scorer] = {**parts}
    for weights in ((1.0, 1.0, 1.0), (0.5, 0.5, 1.0), (0.5, 0.3, 1.0)):
        name = " + ".join(
            f"{'' if w == 1 else f'{w:g} '}{part}"
            for w, part in zip(weights, ("bm25", "sparse", "dense"), strict=True)
        )
        systems[f"z {name}"] = engine.fused(three, weights=weights, method=z_score)
    rrf = equal("RRF", "bm25", "sparse", "dense")
    systems[rrf.name] = engine.fused(three, method=rrf.normalisers())
    systems["shares, fixed weights"] = replace(default, trust=None, smoothing=None)
    systems["shares, adaptive weights"] = replace(default, smoothing=None)
    assert default.smoothing is not None
    for share in (0.15, 0.2, 0.4, 0.5):
        smoothing = replace(default.smoothing, share=share)
        systems[f"smoothed {share:g}"] = replace(default, smoothing=smoothing)
    systems[DEFAULT] = default
    return systems, {setting: setting.of(default) for setting in GRID}, three


def mean(values: PerQuery) -> float:
    """The mean over the queries."""
    return sum(values.values()) / len(values)


def left_out(measured: Mapping[str, Measured], kinds: Sequence[str]) -> dict[str, Setting]:
    """For each collection the setting, of some kinds, that is best on average over the others."""
    grid = [setting for setting in GRID if setting.kind in kinds]
    means = {name: {s: mean(m.grid[s]) for s in grid} for name, m in measured.items()}

    def best(held: str) -> Setting:
        others = [by_setting for name, by_setting in means.items() if name != held]
        return max(grid, key=lambda s: sum(by_setting[s] for by_setting in others))

    return {name: best(name) for name in measured}


def rows(measured: Mapping[str, Measured]) -> dict[str, dict[str, PerQuery]]:
    """System -> collection -> nDCG@10 by query; chosen settings among the systems."""
    first = next(iter(measured.values()))
    table = {name: {c: m.systems[name] for c, m in measured.items()} for name in first.systems}
    if first.grid and len(measured) > 1:
        for kinds in (("fixed",), ("adaptive",), ("fixed", "adaptive", "smoothed")):
            chosen = left_out(measured, kinds)
            label = f"leave one out, {kinds[0] if len(kinds) == 1 else 'any'}"
            table[label] = {c: m.grid[chosen[c]] for c, m in measured.items()}
            for collection, setting in chosen.items():
                say(f"{label}: without {collection}: {setting}")
    return table


def results(measured: Mapping[str, Measured]) -> Iterator[Result]:
    """Every mean; differences from the fixed fusion; the least lead over the best single one."""
    table = rows(measured)
    for name, by_collection in table.items():
        for collection, values in by_collection.items():
            yield Result(name, collection, len(values), MEASURE, mean(values))
        yield Result(name, "mean", len(measured), MEASURE, overall(by_collection))
    for name, by_collection in table.items():
        if name in SINGLE:
            continue
        against = compare_pooled(by_collection, table[FIXED], "collections", samples=20_000)
        gain = Result(name, f"against {FIXED}", len(measured), "difference", against.difference)
        yield judged(gain, f">= {GAIN}") if name == DEFAULT or "leave" in name else gain
        yield Result(name, f"against {FIXED}", len(measured), "low", against.low)
        yield Result(name, f"against {FIXED}", len(measured), "high", against.high)
        yield Result(name, f"against {FIXED}", len(measured), "p", against.p)
        lead = Result(name, "best single", None, "least lead", least_lead(by_collection, table))
        yield judged(lead, f">= {LOSS}")


def overall(by_collection: Mapping[str, PerQuery]) -> float:
    """The mean of the collections' means."""
    return sum(map(mean, by_collection.values())) / len(by_collection)


def least_lead(
    by_collection: Mapping[str, PerQuery], table: Mapping[str, Mapping[str, PerQuery]]
) -> float:
    """The least difference, over the collections, from the best single retriever there."""
    return min(
        mean(values) - max(mean(table[single][collection]) for single in SINGLE)
        for collection, values in by_collection.items()
    )


def markdown(measured: Mapping[str, Measured]) -> str:
    """The same as tables."""
    table, names = rows(measured), list(measured)
    lines = [f"| {MEASURE} | " + " | ".join([*names, "mean"]) + " | least lead | gain, 95 % |"]
    lines.append("|---" * (len(names) + 4) + "|")
    for system, by_collection in table.items():
        cells = [f"{mean(by_collection[name]):.3f}" for name in names]
        cells.append(f"{overall(by_collection):.4f}")
        cells.append(f"{least_lead(by_collection, table):+.3f}")
        against = compare_pooled(by_collection, table[FIXED], "collections", samples=20_000)
        cells.append(f"{against.difference:+.4f} ({against.low:+.4f} to {against.high:+.4f})")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    lines += ["", f"Least lead: over the best single retriever. Gain: against {FIXED}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
