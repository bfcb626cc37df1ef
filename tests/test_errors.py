"""Errors: whatever a user can cause has one base, and is found in one module."""

from __future__ import annotations

from pathlib import Path

import pytest

import indexes.errors
from searchlib import Document, Engine, SearchlibError, Settings, errors


def test_every_error_has_one_base_and_is_in_one_module() -> None:
    below = {name for name, of in vars(indexes.errors).items() if isinstance(of, type)}
    assert below <= set(errors.__all__)
    for name in errors.__all__:
        found = getattr(errors, name)
        if isinstance(found, type):
            assert issubclass(found, SearchlibError)


def test_a_server_catches_what_its_users_cause(tmp_path: Path) -> None:
    settings = Settings(sparse_model=None, dense_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add([Document("a", "a boat")])
        with pytest.raises(SearchlibError):
            engine.search("boat", where="year >")
        with pytest.raises(SearchlibError):
            Engine.create(tmp_path / "i", settings)
    with pytest.raises(SearchlibError):
        engine.search("boat")
    with pytest.raises(SearchlibError):
        Engine.open(tmp_path / "nothing")
