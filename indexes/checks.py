"""What a writer refuses before it takes anything in: records and rows that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .buffer import Rows
from .manifest import FieldSpec, TermField
from .metadata import metadata_json, storable
from .remembered import Remembered
from .types import Record, TermVectors

TERMS_REMEMBERED = 4  # a caller has few vocabularies at a time


def check_records(records: Sequence[Record]) -> None:
    """Raise ValueError for a record that cannot be stored."""
    for record in records:
        if not record.id:
            raise ValueError("a document has an empty id, must have at least one character")
        if storable(record.id) != record.id:
            raise ValueError(f"illegal id {record.id!r}: a lone surrogate is no character")
        checked_metadata(record.id, record.metadata)
        if not record.passages:
            raise ValueError(f"document {record.id!r} has no passage, must have at least one")
        for start, end in record.passages:
            if not 0 <= start <= end <= len(record.text):
                raise ValueError(
                    f"document {record.id!r}: passage ({start}, {end}) lies outside of its text"
                    f" of {len(record.text)} characters"
                )


def checked_metadata(id: str, metadata: dict[str, Any]) -> str:
    """Metadata as JSON; ValueError, naming the document, for what cannot be stored."""
    try:
        return metadata_json(metadata)
    except ValueError as error:
        raise ValueError(f"document {id!r}: {error}") from error


class RowsCheck:
    """Checks rows before they are taken in; remembers the terms that came last, as objects."""

    def __init__(self) -> None:
        self._distinct: Remembered[Sequence[str], bool] = Remembered(TERMS_REMEMBERED)

    def check(
        self,
        fields: Mapping[str, FieldSpec],
        records: Sequence[Record],
        rows: Mapping[str, Rows],
    ) -> None:
        """Raise ValueError where rows are not one for each record or passage of each field."""
        if rows.keys() != fields.keys():
            raise ValueError(f"rows of fields {sorted(rows)}, the index has {sorted(fields)}")
        expected = {"document": len(records), "passage": sum(len(r.passages) for r in records)}
        for name, spec in fields.items():
            part = rows[name]
            if len(part) != expected[spec.unit]:
                raise ValueError(
                    f"field {name}: {len(part)} rows for {expected[spec.unit]} {spec.unit}s"
                )
            if isinstance(spec, TermField):
                if not isinstance(part, TermVectors):
                    raise ValueError(f"field {name} takes TermVectors, not {type(part).__name__}")
                legal = (part.values >= 0) & (part.values < np.inf)
                if not legal.all():
                    wrong = part.values[~legal][0]
                    raise ValueError(f"field {name}: illegal weight {wrong}, must be finite, >= 0")
                if not self._distinct.of(part.terms, _distinct):
                    raise ValueError(f"field {name}: a term names two columns, must name one")
            else:
                if not isinstance(part, np.ndarray) or part.shape[1:] != (spec.dim,):
                    raise ValueError(f"field {name} takes vectors of shape (n, {spec.dim})")
                if not np.isfinite(part).all():
                    raise ValueError(f"field {name}: a vector holds what is not a finite number")


def _distinct(terms: Sequence[str]) -> bool:
    return len(set(terms)) == len(terms)
