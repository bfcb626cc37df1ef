"""What is said of errors that are nobody's fault."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from commandline import Run

from searchlib.cli.errors import report


def test_a_full_gpu_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB\nmore")) == 1
    said = capsys.readouterr().err
    assert "GPU is out of memory" in said
    assert "--device cpu" in said
    assert "bug" not in said


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_the_system_refuses_to_an_import_is_no_bug(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    reason = os.strerror(number)
    text = f"x.so: cannot open shared object file: {reason}"
    assert report(ImportError(text, name="x", path="/lib/x.so")) == 1
    assert capsys.readouterr().err == f"searchlib: /lib/x.so: {reason}\n"
    report(ImportError(text))
    assert capsys.readouterr().err == f"searchlib: {reason}\n"
    report(ImportError("cannot import name 'x'"))
    assert "this is a bug" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("info",), ("search", "plants"), ("browse",)])
def test_an_index_that_may_not_be_read_is_one_line(
    cli: Run, notes: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """As it is to who is not root."""
    real = Path.stat

    def refused(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name == "manifest.json":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return real(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    monkeypatch.setattr(Path, "stat", refused)
    result = cli(command[0], notes, *command[1:])
    assert result.code == 1
    assert result.error == f"searchlib: cannot read {notes}/manifest.json: Permission denied"
    assert result.err.count("\n") == 1
