"""Runs and relevance judgements (qrels) in the formats of TREC and BEIR.

A run line is `query Q0 document rank score tag`; a judgement line is `query 0 document relevance`
(TREC) or, after a header, `query <tab> document <tab> relevance` (BEIR). TREC's columns end at
white space, so an id that holds white space cannot stand in a run; BEIR's end at tabs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ..errors import BadInput
from .judgements import judgements
from .lines import bad_line, numbered_lines, text_of

MOST = 1 << 20
"""The largest relevance; trec_eval's tables are as long as the largest one."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_DIGITS = 20  # of a relevance; int() of thousands is slow, or refused

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> relevance; above 0 is relevant."""

Run = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score; larger is better."""


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """The run in a TREC file of six columns (`.gz .bz2 .xz .zst` unpacked); ranks are not used.

    Raises BadInput, naming file and line, for a line that does not have six columns, a score
    that is not a finite number, or a document that stands twice in a query's ranking.

    >>> read_run(Path("bm25.run"))["q1"]  # doctest: +SKIP
    {'d7': 12.5, 'd2': 9.25}
    """
    run: dict[str, dict[str, float]] = {}
    for number, line in numbered_lines(path):
        fields = line.split()
        if len(fields) != 6:
            bad_line(
                path,
                number,
                f"{len(fields)} columns; a run has 6 (query Q0 document rank score tag)",
            )
        query, _, document, _, score_text, _ = (text_of(field, path, number) for field in fields)
        score = _number(score_text)
        if not math.isfinite(score):
            bad_line(path, number, f"score {score_text!r} is not a finite number")
        ranking = run.setdefault(query, {})
        if document in ranking:
            bad_line(path, number, f"document {document!r} stands twice for query {query!r}")
        ranking[document] = score
    return run


def write_run(run: Run, file: TextIO, tag: str = "searchlib") -> None:
    """Writes the run in TREC's six columns, best score first, ranks from 1, scores unrounded.

    Equal scores keep the order they are given in. Raises BadInput for an id or tag that is empty
    or holds white space, since no TREC tool could read it back.

    >>> import sys
    >>> write_run({"q1": {"d2": 9.25, "d7": 12.5}}, sys.stdout, tag="bm25")
    q1 Q0 d7 1 12.5 bm25
    q1 Q0 d2 2 9.25 bm25
    """
    must_be_one_column(tag, "tag")
    for query, ranking in run.items():
        must_be_one_column(query, "query id")
        best_first = sorted(ranking.items(), key=lambda item: -item[1])
        for rank, (document, score) in enumerate(best_first, start=1):
            must_be_one_column(document, "document id")
            file.write(f"{query} Q0 {document} {rank} {float(score)!r} {tag}\n")


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """The judgements of a TREC (4 columns) or BEIR (3, tab-separated, header) file.

    Or of CSV with a header, JSON Lines, Parquet, with fields "query-id", "corpus-id", "score".

    Raises BadInput, naming file and line, for other columns, an empty id, a relevance that is not
    an integer or beyond 2^20, or a document that is judged twice with different values.

    >>> read_qrels(Path("qrels/test.tsv"))["q1"]  # doctest: +SKIP
    {'d7': 2, 'd9': 1}
    """
    qrels: dict[str, dict[str, int]] = {}
    first = True
    for number, query, document, value in judgements(path):
        header, first = first and value.lower() in ("score", "relevance", "rel", "label"), False
        if header:
            continue
        if not query or not document:
            bad_line(path, number, f"empty {'document' if query else 'query'} id")
        if not _INTEGER.fullmatch(value):
            bad_line(path, number, f"relevance {value!r} is not an integer")
        if len(value) > _DIGITS or abs(int(value)) > MOST:
            bad_line(path, number, f"relevance {value[:30]}, must be from -{MOST} to {MOST}")
        relevance = int(value)
        judged = qrels.setdefault(query, {})
        if judged.get(document, relevance) != relevance:
            bad_line(
                path,
                number,
                f"document {document!r} is judged {judged[document]} and {relevance}"
                f" for query {query!r}",
            )
        judged[document] = relevance
    return qrels


def write_qrels(qrels: Qrels, file: TextIO) -> None:
    """Writes the judgements in TREC's four columns; BadInput for ids with white space.

    >>> import sys
    >>> write_qrels({"q1": {"d7": 2}}, sys.stdout)
    q1 0 d7 2
    """
    for query, judged in qrels.items():
        must_be_one_column(query, "query id")
        for document, relevance in judged.items():
            must_be_one_column(document, "document id")
            file.write(f"{query} 0 {document} {relevance}\n")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def must_be_one_column(text: str, what: str) -> None:
    """Refuse an id or tag that TREC's columns cannot carry. Raises BadInput."""
    # subtle: only ASCII white space ends a column in trec_eval; a no-break space may stay
    if (
        not text
        or len(text.encode("utf-8", "surrogatepass").split()) != 1
        or text != text.strip(" \t\n\r\v\f")
    ):
        raise BadInput(
            f"{what} {text!r} is empty or holds white space, which TREC's columns cannot carry; "
            "JSON can: `searchlib run --format json`"
        )
