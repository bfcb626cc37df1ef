"""Effectiveness measures, in the grammar of ir_measures: `nDCG@10`, `RR@10`, `R@100`, `AP`.

Only this module imports ir_measures (MacAvaney et al., ECIR 2022), and only when called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import Any

from ..errors import BadInput, BadQuery
from .trec import MOST, Qrels, Run

EXAMPLES = "nDCG@10, RR@10, R@100, P@5, AP, Success@1, Judged@10, P(rel=2)@10"

# of ir_measures' many providers
_FAILURES = (ValueError, TypeError, ArithmeticError, RuntimeError, OSError, SubprocessError)


@dataclass(frozen=True)
class Results:
    """Values of each measure: over all queries, and query by query."""

    mean: dict[str, float]  # measure -> mean over queries (a sum for counts such as NumRel)
    per_query: dict[str, dict[str, float]]  # measure -> query id -> value
    queries: int  # how many have judgements


def parse_measures(measures: str) -> tuple[str, ...]:
    """The measures' canonical names; `measures` lists them with commas or blanks between.

    Raises BadQuery, with examples, for a name, parameter or cutoff that ir_measures does not
    know or cannot compute here.

    >>> parse_measures("nDCG@10, P(rel=2)@5")
    ('nDCG@10', 'P(rel=2)@5')
    """
    return tuple(str(measure) for measure in _parse(measures))


def evaluate(qrels: Qrels, run: Run, measures: str = "nDCG@10,R@100") -> Results:
    """What the run is worth by these judgements.

    Every query of the qrels counts: one without results has value 0. Queries of the run without
    judgements are left out. Documents are ordered by score; equal scores are ordered as the
    measure's provider orders them (trec_eval: by descending id), so that the figure is the one
    other tools give for the same run.

    Raises BadQuery for measures that are not known, BadInput for empty qrels and a relevance
    beyond 2^20.

    >>> evaluate({"q": {"d1": 1}}, {"q": {"d2": 2.0, "d1": 1.0}}, "RR,P@1").mean
    {'RR': 0.5, 'P@1': 0.0}
    """
    import ir_measures

    parsed = _parse(measures)
    if not qrels:
        raise BadInput("no judgements: nothing to evaluate against")
    largest = max((abs(value) for judged in qrels.values() for value in judged.values()), default=0)
    if largest > MOST:
        raise BadInput(f"a relevance of {largest}, must be from -{MOST} to {MOST}")
    # subtle: all are numbered, because some of ir_measures' tools read ids from columns, or take
    # numbers only; documents in the order of their ids, by which equal scores are ordered
    names = {str(number): query for number, query in enumerate(qrels, start=1)}
    documents = sorted({d for of in (qrels, run) for query in qrels for d in of.get(query, ())})
    width = len(str(len(documents)))
    plain = {document: f"{number:0{width}}" for number, document in enumerate(documents)}
    plain_qrels = {
        number: {plain[document]: value for document, value in qrels[query].items()}
        for number, query in names.items()
    }
    plain_run = {
        number: {plain[document]: float(score) for document, score in run[query].items()}
        for number, query in names.items()
        if run.get(query)
    }
    values: dict[Any, dict[str, float]] = {measure: {} for measure in parsed}
    try:
        for metric in ir_measures.iter_calc(list(parsed), plain_qrels, plain_run):
            values[metric.measure][metric.query_id] = float(metric.value)
    except _FAILURES as error:
        raise BadQuery(f"cannot compute {measures}: {' '.join(str(error).split())}") from None
    mean: dict[str, float] = {}
    per_query: dict[str, dict[str, float]] = {}
    for measure in parsed:
        aggregator = measure.aggregator()
        by_query = {names[n]: values[measure][n] for n in names if n in values[measure]}
        for value in by_query.values():
            aggregator.add(value)
        mean[str(measure)] = float(aggregator.result())
        per_query[str(measure)] = by_query
    return Results(mean, per_query, len(names))


def _parse(measures: str) -> list[Any]:
    import ir_measures

    parsed: list[Any] = []
    for name in _split(measures):
        try:
            measure = ir_measures.parse_measure(name)
            known = _sound(measure) and ir_measures.DefaultPipeline.supports(measure)
        except (ValueError, NameError, TypeError, AssertionError, KeyError, RecursionError):
            known = False
        if not known:
            raise BadQuery(
                f"unknown measure {name[:60]!r} (or wrong cutoff or parameters);"
                f" examples: {EXAMPLES}"
            )
        if measure not in parsed:
            parsed.append(measure)
    if not parsed:
        raise BadQuery(f"no measure given; examples: {EXAMPLES}")
    return parsed


def _sound(measure: Any) -> bool:
    # subtle: trec_eval ends the whole process at a cutoff below 1 or beyond a C long
    cutoff = measure.params.get("cutoff", 1)
    return isinstance(cutoff, int) and 1 <= cutoff < 2**31


def _split(measures: str) -> Iterable[str]:
    # commas inside parentheses or braces belong to a measure's parameters
    outside = re.findall(r"(?:[^\s,({]|\([^)]*\)|\{[^}]*\}|[({])+", measures)
    return (part for part in outside if part)
