"""What an index is made with: one frozen value, stored in the index and read back on opening."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from .calibration import Calibration
from .encoders.pruning import Pruning
from .errors import BadQuery
from .typed import check_types

DENSE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SPARSE_MODEL = "searchlib/gloss"
QUERIES = "searchlib/glance"

DenseKind = Literal["auto", "exact", "pq"]

ANSWERING = (
    "sparse_queries", "static_queries", "bm25_weight", "sparse_weight", "dense_weight", "smoothing",
    "calibration",
)  # fmt: skip
"""The settings that no row of an index depends on: of queries, and of how scores are fused."""


@dataclass(frozen=True)
class Settings:
    """How documents are cut, encoded and stored; fixed when an index is created.

    `dense_model`, `sparse_model`: a name or a folder; None leaves that representation out.
    `language`: of BM25's stemmer and stop words. `k1`, `b`: of BM25.
    `passage_tokens`: a passage's length in word-pieces, title included; at most the models'
    windows. `overlap`: word-pieces that neighbouring passages share. `max_passages`: None for
    as many as the text needs; 1 keeps one passage a document, which the models cut at their
    window. `dense_kind`: how vectors are searched, exact, by 4-bit codes, or chosen by size.
    `sparse_documents`, `sparse_queries`: pruning of the learned-sparse vectors, of queries by
    table ("lookup") too; by default everything stays.
    `sparse_idf`: queries' learned weights are multiplied by that power of the index's own idf;
    `sparse_length_power`: documents' are divided by that power of their Euclidean length.
    0 and 0 are the model as it is (benchmarks/adaptation.md says what the defaults bring).
    `static_queries`: a table of query vectors for the dense model, a name or a folder, which
    "static", "lookup" and "instant" ask; None: none. The default serves the default dense model
    alone, and goes unused with others.
    `bm25_weight`, `sparse_weight`, `dense_weight`: of the hybrid's parts,
    before each query adapts them (benchmarks/fusion.py shows how these were chosen).
    `smoothing`: the share that its neighbours have in a good candidate's hybrid score; 0: none.
    `calibration`: fitted to judgements of this index; None: the default, where that applies.

    Raises:
        BadQuery: a value of another type, or out of its range.
    """

    dense_model: str | None = DENSE_MODEL
    sparse_model: str | None = SPARSE_MODEL
    language: str = "english"
    k1: float = 0.9
    b: float = 0.4
    passage_tokens: int = 256
    overlap: int = 32
    max_passages: int | None = None
    dense_kind: DenseKind = "auto"
    sparse_documents: Pruning = field(default_factory=Pruning)
    sparse_queries: Pruning = field(default_factory=Pruning)
    sparse_idf: float = 0.75
    sparse_length_power: float = 0.3
    static_queries: str | None = QUERIES
    bm25_weight: float = 0.45
    sparse_weight: float = 0.2
    dense_weight: float = 1.0
    smoothing: float = 0.3
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        check_types(self, BadQuery)
        if not self.k1 >= 0:
            raise BadQuery(f"illegal k1 value: {self.k1}, must be 0 or more")
        if not 0 <= self.b <= 1:
            raise BadQuery(f"illegal b value: {self.b}, must be between 0 and 1")
        if self.passage_tokens < 16:
            raise BadQuery(f"illegal passage_tokens: {self.passage_tokens}, must be 16 or more")
        if not 0 <= self.overlap <= self.passage_tokens // 2:
            raise BadQuery(
                f"illegal overlap: {self.overlap}, must be between 0 and half of passage_tokens "
                f"({self.passage_tokens // 2})"
            )
        if self.max_passages is not None and self.max_passages < 1:
            raise BadQuery(f"illegal max_passages: {self.max_passages}, must be 1 or more")
        if not 0 <= self.sparse_idf <= 2:
            raise BadQuery(f"illegal sparse_idf: {self.sparse_idf}, must be between 0 and 2")
        if not 0 <= self.sparse_length_power <= 1:
            raise BadQuery(
                f"illegal sparse_length_power: {self.sparse_length_power}, must be between 0 and 1"
            )
        weights = (self.bm25_weight, self.sparse_weight, self.dense_weight)
        if any(not weight >= 0 for weight in weights):
            raise BadQuery(f"illegal fusion weights: {weights}, must be 0 or more")
        if not 0 <= self.smoothing <= 1:
            raise BadQuery(f"illegal smoothing: {self.smoothing}, must be between 0 and 1")

    def resolved(self) -> Settings:
        """The same with model folders as absolute paths: an index is opened from anywhere."""

        def absolute(model: str | None) -> str | None:
            folder = model is not None and Path(model).is_dir()
            return str(Path(str(model)).resolve()) if folder else model

        return replace(
            self,
            dense_model=absolute(self.dense_model),
            sparse_model=absolute(self.sparse_model),
            static_queries=absolute(self.static_queries),
        )

    def answering_as(self, other: Settings) -> Settings:
        """The settings of the same rows, asked and fused as `other` says (`ANSWERING`)."""
        return replace(self, **{name: getattr(other, name) for name in ANSWERING})

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `from_json` makes equal settings."""
        values = asdict(self)
        if self.calibration is None:  # as in indexes of versions that knew of none
            del values["calibration"]
        return values

    @staticmethod
    def from_json(values: dict[str, Any]) -> Settings:
        """Settings from what `to_json` gave.

        Raises:
            BadQuery: an unknown name; the message gives the nearest known one.
        """
        known = {f.name for f in fields(Settings)}
        for name in values:
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise BadQuery(f"unknown setting {name!r}{hint}")
        values = dict(values)
        for name in ("sparse_documents", "sparse_queries"):
            if isinstance(values.get(name), dict):
                values[name] = Pruning(**values[name])
        if isinstance(values.get("calibration"), dict):
            values["calibration"] = Calibration(**values["calibration"])
        return Settings(**values)
