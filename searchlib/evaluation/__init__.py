"""Runs, judgements, measures and significance: is this retriever good, and is it better?"""

from .collection import Collection
from .compare import Comparison, compare, compare_pooled
from .measures import Results, evaluate, parse_measures
from .runs import run_of, run_queries
from .significance import bootstrap_interval, holm, randomisation_test
from .topics import read_topics
from .trec import Qrels, Run, read_qrels, read_run, write_qrels, write_run

__all__ = [
    "Collection",
    "Comparison",
    "Qrels",
    "Results",
    "Run",
    "bootstrap_interval",
    "compare",
    "compare_pooled",
    "evaluate",
    "holm",
    "parse_measures",
    "randomisation_test",
    "read_qrels",
    "read_run",
    "read_topics",
    "run_of",
    "run_queries",
    "write_qrels",
    "write_run",
]
