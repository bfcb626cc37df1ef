"""Runs, judgements, measures and significance: is this retriever good, and is it better?"""

from .collection import Collection
from .compare import Comparison, compare, compare_pooled
from .measures import Results, evaluate, parse_measures
from .measuring import Source, depth, ranked
from .records import Outcome, Record, keep, read_records, record_of, reproduce
from .runs import answers_in, run_of, run_queries, themselves
from .significance import bootstrap_interval, holm, randomisation_test
from .topics import read_topics
from .trec import Qrels, Run, read_qrels, read_run, write_qrels, write_run

__all__ = [
    "Collection",
    "Comparison",
    "Outcome",
    "Qrels",
    "Record",
    "Results",
    "Run",
    "Source",
    "answers_in",
    "bootstrap_interval",
    "compare",
    "compare_pooled",
    "depth",
    "evaluate",
    "holm",
    "keep",
    "parse_measures",
    "randomisation_test",
    "ranked",
    "read_qrels",
    "read_records",
    "read_run",
    "read_topics",
    "record_of",
    "reproduce",
    "run_of",
    "run_queries",
    "themselves",
    "write_qrels",
    "write_run",
]
