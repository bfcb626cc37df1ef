"""What is held out: by document, and no text on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from searchlib.training.apart import grouped, held_apart


def test_a_text_belongs_to_the_document_in_which_it_comes_first() -> None:
    texts = ["The cat", "a dog", "the  CAT", "bread", "a dog"]
    assert grouped(texts, [3, 3, 5, 5, 9]).tolist() == [3, 3, 3, 5, 3]


@pytest.mark.parametrize(("groups", "expected"), [(400, 40), (19, 1), (2, 1), (1, 1)])
def test_a_share_of_the_groups_is_held_out(groups: int, expected: int) -> None:
    numbers = np.random.default_rng(0).permutation(np.repeat(np.arange(groups), 3))
    held = held_apart(numbers, 0.1, 1)
    assert len(set(numbers[held])) == expected
    assert set(numbers[held]).isdisjoint(numbers[~held])
    assert (held == held_apart(numbers, 0.1, 1)).all()
