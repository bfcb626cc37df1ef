"""What an index says of itself, checked before it is believed: settings, fields, encoders."""

from __future__ import annotations

from pathlib import Path

from indexes.errors import Damaged
from indexes.manifest import TermField, VectorField
from indexes.similarity import BM25
from indexes.snapshot import Snapshot

from .config import Settings
from .errors import SearchlibError


def recorded_settings(snapshot: Snapshot, path: Path) -> Settings:
    """The settings that an index was made with. Raises Damaged where they or its fields lie."""
    try:
        settings = Settings.from_json(dict(snapshot.settings))
        _check_fields(snapshot, settings)
    except (SearchlibError, ValueError, TypeError) as error:
        raise Damaged(f"{path}: the manifest's settings make no sense: {error}") from None
    return settings


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
