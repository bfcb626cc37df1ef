"""Slips of the pen that the benchmark draws, and what every benchmark of collections checks."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Load = Callable[[str], ModuleType]


@given(st.text("abcXY -.", max_size=30), st.integers(0, 2**32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_word_has_one_slip_behind_its_first_letter(load: Load, text: str, seed: int) -> None:
    from rapidfuzz.distance import OSA

    slipped = load("spelling").slipped(text, random.Random(seed))
    assert OSA.distance(text, slipped) <= 1  # two equal letters may have changed places
    before = text.replace(".", " ").replace("-", " ").split(" ")
    after = slipped.replace(".", " ").replace("-", " ").split(" ")
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert all(len(a) >= 5 and a[0] == b[0] for a, b in changed)


def test_short_words_have_no_slips(load: Load) -> None:
    assert load("spelling").slipped("how do we eat", random.Random(1)) == "how do we eat"


@pytest.mark.parametrize(
    "name",
    ["adaptation", "blending", "calibration", "effectiveness", "feedback", "fusion", "instant",
     "quoting", "spelling"],
)  # fmt: skip
def test_what_is_wrong_with_a_collection_is_said_at_once(
    load: Load,
    name: str,
    beir: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = beir("this is no JSON\n")
    monkeypatch.setattr(sys, "argv", [name, str(folder)])
    monkeypatch.chdir(folder.parent)
    with pytest.raises(SystemExit) as stopped:
        load(name).main()
    assert stopped.value.code == 1
    assert "queries.jsonl:1" in capsys.readouterr().err
