"""The manifest: the one file that says what an index consists of, and the only one replaced.

It is JSON: the format's version, the generation (one more with each commit), the fields, the
segments with every file's size and checksum, and what the layer above wants kept (settings,
encoders). The checksum over itself makes a half-written or edited manifest visible.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .directory import Directory
from .errors import Damaged, NoIndex, StorageFailed, UnsupportedFormat
from .similarity import Similarity, similarity_from_json, to_json
from .types import Unit

MANIFEST = "manifest.json"
MAGIC = "searchlib index"
VERSION = 2

Weights = Literal["count", "impact"]
Structure = Literal["exact", "pq", "auto"]

RESERVED = frozenset(["store", "passages", "dead"])  # components that are no fields
LARGEST = 64 << 20  # bytes of a manifest: some ten thousand segments
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
FILE_NAME = re.compile(r"s[0-9]{6,}(\.[a-z0-9_]+)+")
_GARBLED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class TermField:
    """A representation of documents or passages as weighted terms: an inverted file.

    `kind`: "count" (whole numbers, for BM25) or "impact" (float16, for Dot).
    `similarity` is the one a search uses unless it names another. `encoder` is anything JSON
    that tells the layer above what made the weights.
    """

    name: str
    kind: Weights
    unit: Unit
    similarity: Similarity
    encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_field(self.name, self.unit)
        if self.kind not in get_args(Weights):
            raise ValueError(f"field {self.name}: illegal kind {self.kind!r}, use count or impact")


@dataclass(frozen=True)
class VectorField:
    """A representation of documents or passages as float32 vectors of `dim` numbers.

    `kind`: "exact" (every vector is compared), "pq" (4-bit codes choose candidates, which are
    compared exactly), or "auto" (codes from the size at which they pay).
    """

    name: str
    dim: int
    unit: Unit
    kind: Structure = "auto"
    encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_field(self.name, self.unit)
        if self.kind not in get_args(Structure):
            raise ValueError(
                f"field {self.name}: illegal kind {self.kind!r}, use exact, pq or auto"
            )
        if self.dim < 1:
            raise ValueError(f"field {self.name}: illegal dim {self.dim}, must be at least 1")


FieldSpec = TermField | VectorField


def _check_field(name: str, unit: str) -> None:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"illegal field name: {name!r}, use lower-case letters, digits and _")
    if unit not in get_args(Unit):
        raise ValueError(f"field {name}: illegal unit {unit!r}, use document or passage")


@dataclass(frozen=True)
class FileEntry:
    """What a file must be: its size, and blake2b (16 bytes, hexadecimal) of its content."""

    bytes: int
    blake2b: str


@dataclass(frozen=True)
class SegmentEntry:
    """A segment: `parts` maps each component to the file that holds it.

    Components: "store", "passages", each field's name, "<field>.codes" where there are codes,
    "dead" once a document of it was deleted, "store.changes" once its metadata changed. Two
    fields with equal arrays share one file.
    """

    name: str
    n_documents: int
    n_passages: int
    n_dead: int
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """One commit. `next_segment` numbers the segments, so that no name is ever used twice."""

    generation: int
    created: str
    next_segment: int
    fields: Mapping[str, FieldSpec]
    settings: Mapping[str, Any]
    segments: tuple[SegmentEntry, ...]
    files: Mapping[str, FileEntry]

    def component_bytes(self) -> dict[str, int]:
        """Bytes on disk by component: each field, "store", "passages"; a shared file once."""
        sizes: dict[str, int] = {}
        for entry in self.segments:
            seen: set[str] = set()
            for component, name in entry.parts.items():
                owner = component.partition(".")[0]
                size = 0 if name in seen else self.files[name].bytes
                sizes[owner] = sizes.get(owner, 0) + size
                seen.add(name)
        return sizes

    def to_bytes(self) -> bytes:
        """The manifest as the bytes of its file."""
        body = {
            "format": MAGIC,
            "version": VERSION,
            "generation": self.generation,
            "created": self.created,
            "next_segment": self.next_segment,
            "fields": [_field_to_json(spec) for spec in self.fields.values()],
            "settings": dict(self.settings),
            "segments": [asdict(entry) for entry in self.segments],
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }
        body["checksum"] = _checksum(body)
        return json.dumps(body, indent=1, allow_nan=False).encode() + b"\n"

    @staticmethod
    def from_bytes(data: bytes, path: Path) -> Manifest:
        """The manifest that `to_bytes` wrote; `path` is for messages only.

        Raises Damaged (not a manifest, cut short, changed) or UnsupportedFormat.
        """
        body = _parse(data, path)
        try:
            manifest = Manifest(
                generation=_natural(body["generation"]),
                created=str(body["created"]),
                next_segment=_natural(body["next_segment"]),
                fields=_fields(body["fields"]),
                settings=dict(body["settings"]),
                segments=tuple(_segment(entry) for entry in body["segments"]),
                files={
                    name: FileEntry(_natural(entry["bytes"]), str(entry["blake2b"]))
                    for name, entry in body["files"].items()
                },
            )
            named = {name for segment in manifest.segments for name in segment.parts.values()}
            if named != manifest.files.keys():
                raise ValueError(f"the files {sorted(named ^ manifest.files.keys())[:3]}")
        except _GARBLED as error:
            raise Damaged(f"{path}: the manifest lacks or garbles {error}") from error
        return manifest


def read_manifest(directory: Directory) -> Manifest:
    """The last commit. Raises NoIndex, Damaged, UnsupportedFormat, StorageFailed."""
    if directory.root.is_file():
        raise NoIndex(f"{directory.root} is a file; an index is a folder")
    path = directory.path(MANIFEST)
    try:
        found = path.stat()
        # subtle: a pipe of that name would keep its reader waiting for ever
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise Damaged(f"{path}: not the manifest of an index, but no file or a huge one")
        data = directory.read(MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise NoIndex(f"{directory.root} holds no index (no {MANIFEST})") from None
    except OSError as error:
        raise StorageFailed(f"cannot read {path}: {error.strerror}") from error
    return Manifest.from_bytes(data, directory.path(MANIFEST))


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: the manifest is cut short or not JSON") from error
    if not isinstance(body, dict) or body.get("format") != MAGIC:
        raise Damaged(f"{path}: not the manifest of a searchlib index")
    if body.get("version") != VERSION:
        raise UnsupportedFormat(
            f"{path}: index format {body.get('version')!r}, this version reads format {VERSION}; "
            "use the version that wrote it, or build the index anew"
        )
    checksum = body.pop("checksum", None)
    if checksum != _checksum(body):
        raise Damaged(f"{path}: the manifest's checksum is wrong; it was changed or cut short")
    return body


def _checksum(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"the number {value!r}")
    return value


def _segment(entry: Mapping[str, Any]) -> SegmentEntry:
    parts = {str(component): str(name) for component, name in entry["parts"].items()}
    for name in parts.values():
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"the file name {name[:80]!r}")
    return SegmentEntry(
        str(entry["name"]),
        _natural(entry["n_documents"]),
        _natural(entry["n_passages"]),
        _natural(entry["n_dead"]),
        parts,
    )


def _fields(entries: list[dict[str, Any]]) -> dict[str, FieldSpec]:
    fields = {entry["name"]: _field_from_json(entry) for entry in entries}
    if len(fields) != len(entries):
        raise ValueError("two fields of one name")
    return fields


def _field_to_json(spec: FieldSpec) -> dict[str, Any]:
    if isinstance(spec, TermField):
        return {
            "structure": "terms",
            "name": spec.name,
            "kind": spec.kind,
            "unit": spec.unit,
            "similarity": to_json(spec.similarity),
            "encoder": spec.encoder,
        }
    return {
        "structure": "vectors",
        "name": spec.name,
        "dim": spec.dim,
        "unit": spec.unit,
        "kind": spec.kind,
        "encoder": spec.encoder,
    }


def _field_from_json(values: Mapping[str, Any]) -> FieldSpec:
    if values["structure"] == "terms":
        return TermField(
            values["name"],
            values["kind"],
            values["unit"],
            similarity_from_json(values["similarity"]),
            dict(values["encoder"]),
        )
    if values["structure"] == "vectors":
        return VectorField(
            values["name"],
            _natural(values["dim"]),
            values["unit"],
            values["kind"],
            dict(values["encoder"]),
        )
    raise ValueError(f"the structure {values['structure']!r}")
