from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_families import make_model

from searchlib.encoders import backbone


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny(family, masked): the folder of a random model, made once a session."""
    made: dict[tuple[str, bool], Path] = {}

    def get(family: str = "bert", masked: bool = True) -> Path:
        if (family, masked) not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{'masked' if masked else 'bare'}")
            made[family, masked] = make_model(folder, family, masked)
        return made[family, masked]

    return get


@pytest.fixture
def only_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders take neither the numpy path nor the compiled one."""
    monkeypatch.setattr(backbone, "maybe_gpu", lambda: True)
    monkeypatch.setattr(backbone, "LEAN_TOKENS", -1)
    monkeypatch.setattr(backbone, "LEAN_WORK", -1.0)
