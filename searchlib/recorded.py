"""What an index says of itself, checked before it is believed: settings, fields, encoders."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from indexes.errors import Damaged
from indexes.manifest import TermField, VectorField
from indexes.similarity import BM25
from indexes.snapshot import Snapshot

from .calibration import Calibration
from .config import Settings
from .encoders.pruning import Pruning
from .errors import SearchlibError


def recorded_settings(snapshot: Snapshot, path: Path) -> Settings:
    """The settings that an index was made with. Raises Damaged where they or its fields lie."""
    try:
        settings = Settings.from_json(dict(snapshot.settings))
        _check_types(settings)
        _check_fields(snapshot, settings)
    except (SearchlibError, ValueError, TypeError) as error:
        raise Damaged(f"{path}: the manifest's settings make no sense: {error}") from None
    return settings


def _check_types(settings: Settings | Pruning | Calibration) -> None:
    """Raise TypeError where a value is of another type than its field says."""
    hints = get_type_hints(type(settings))
    for name in (field.name for field in fields(settings)):
        value = getattr(settings, name)
        if not _fits(value, hints[name]):
            raise TypeError(f"{name} {str(value)[:40]!r}")
        if isinstance(value, Pruning | Calibration):
            _check_types(value)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and type(value) is not bool
    return isinstance(value, hint)


def _check_fields(snapshot: Snapshot, settings: Settings) -> None:
    """Raise ValueError where a field is missing or not as the settings ask for it."""
    wanted: dict[str, type] = {"bm25": TermField, "bm25_passage": TermField}
    wanted |= {} if settings.sparse_model is None else {"sparse": TermField}
    wanted |= {} if settings.dense_model is None else {"dense": VectorField}
    if snapshot.fields.keys() != wanted.keys():
        raise ValueError(f"fields {sorted(snapshot.fields)}, must be {sorted(wanted)}")
    for name, kind in wanted.items():
        spec = snapshot.fields[name]
        counts = name.startswith("bm25")
        unit = "document" if name == "bm25" else "passage"
        fits = isinstance(spec, kind) and spec.unit == unit
        if isinstance(spec, TermField):
            fits &= (spec.kind == "count") == counts == isinstance(spec.similarity, BM25)
        if not fits or not all(
            isinstance(spec.encoder.get(key), str) for key in ("model", "fingerprint")
        ):
            raise ValueError(f"field {name} is not of its kind, or does not say what made it")
