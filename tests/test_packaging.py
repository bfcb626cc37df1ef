"""The wheel and the sdist: what is in them, and that the wheel works in a fresh environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("dist")
    # --no-isolation: the setuptools that is here, not one from the network
    flags = ("--no-isolation",) if _has_setuptools() else ()
    run(sys.executable, "-m", "build", *flags, "--outdir", folder, ROOT)
    return folder


def _has_setuptools() -> bool:
    try:
        import setuptools
    except ImportError:
        return False
    return int(setuptools.__version__.split(".")[0]) >= 77


def test_the_wheel_holds_two_packages_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"searchlib", "indexes"}
    for wanted in (
        "searchlib/cli/app.py", "searchlib/engine.py", "searchlib/py.typed",
        "searchlib/encoders/models.py", "searchlib/evaluation/measures.py",
        "searchlib/formats/__init__.py", "indexes/FORMAT.md", "indexes/py.typed",
        "searchlib/encoders/gloss/README.md", "searchlib/encoders/gloss/blend/blend.json",
        "searchlib/encoders/gloss/blend/model.safetensors",
    ):  # fmt: skip
        assert wanted in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name or "benchmarks" in name]
    assert not [name for name in names if name.endswith((".c", ".h"))]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_wheel_holds_the_extensions(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name.split(".")[0] for name in archive.namelist() if "abi3" in name}
    assert names == {"_kernels", "_scan", "_fusion", "_fused", "_words", "_ternary"}


def test_every_module_of_the_checkout_is_in_the_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    checkout = {p.relative_to(ROOT).as_posix() for f in ("searchlib", "indexes", "cli")
                for p in (ROOT / f).rglob("*.py")}  # fmt: skip
    installed = {f"searchlib/{path}" if path.startswith("cli/") else path for path in checkout}
    assert installed <= names


def test_the_sdist_can_be_built_from(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "cli/app.py", "indexes/FORMAT.md"} <= names
    sources = {path.relative_to(ROOT).as_posix() for folder in ("indexes", "searchlib")
               for path in (ROOT / folder).rglob("*.[ch]")}  # fmt: skip
    assert sources
    assert sources | {"setup.py", "searchlib/encoders/gloss/blend/model.safetensors"} <= names
    assert not any(name.startswith("tests/") for name in names)  # half of them would not run


def test_the_wheel_works_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    # the dependencies are borrowed from this environment, which may have this checkout installed
    # editable; the .pth file only appends a path, so no import hook of the checkout comes along
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = fresh / "bin" / "searchlib"
    assert "COMMAND" in run(script, "--help", cwd=tmp_path)
    where = "import searchlib.cli.app, indexes; print(searchlib.__file__, indexes.__file__)"
    assert run(python, "-c", where, cwd=tmp_path).count(str(fresh)) == 2
    documents = tmp_path / "notes.jsonl"
    documents.write_text('{"id": "a", "text": "sunlight feeds the leaves"}\n')
    run(script, "index", "n.index", documents, "--no-dense", "--no-sparse", cwd=tmp_path)
    assert '"id": "a"' in run(script, "search", "n.index", "leaves", cwd=tmp_path)
    absent = "import importlib.util as u; print([u.find_spec(n) for n in ('cli', 'benchmarks')])"
    assert run(python, "-P", "-c", absent, cwd=tmp_path).strip() == "[None, None]"
