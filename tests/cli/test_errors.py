"""What is said of errors that are nobody's fault."""

from __future__ import annotations

import pytest

from searchlib.cli.errors import report


def test_a_full_gpu_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB\nmore")) == 1
    said = capsys.readouterr().err
    assert "GPU is out of memory" in said
    assert "--device cpu" in said
    assert "bug" not in said
