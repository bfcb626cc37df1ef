"""Terms as bytes: packed, joined, brought into order by the extension and by Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postings_cases import needs_kernels

from indexes.dictionary import Dictionary, Words
from indexes.kernels import native
from indexes.offsets import Offsets, pack

LETTERS = st.text(st.sampled_from("ab\0\u00e9\U0001f600\ud800"), max_size=20)
TERMS = st.lists(st.one_of(LETTERS, st.text(max_size=3)), max_size=40)


def listed(words: Words) -> list[bytes]:
    ends = [0, *np.cumsum(words.sizes).tolist()]
    return [words.text.tobytes()[start:stop] for start, stop in pairwise(ends)]


def encoded(terms: list[str]) -> list[bytes]:
    return [term.encode("utf-8", "surrogatepass") for term in terms]


@settings(deadline=None)
@given(TERMS, TERMS)
def test_terms_are_packed_and_joined(some: list[str], others: list[str]) -> None:
    assert listed(Words.of(some)) == encoded(some)
    assert listed(Words.joined([Words.of(some), Words.of(others)])) == encoded(some + others)
    marks = np.array(["a" in term for term in some], np.bool_)
    assert listed(Words.of(some).marked(marks)) == encoded([t for t in some if "a" in t])


@needs_kernels
@settings(deadline=None)
@given(TERMS)
def test_both_ways_bring_terms_into_the_order_of_code_points(terms: list[str]) -> None:
    for kernels in (None, native()):
        words, numbers = Words.of(terms).distinct(kernels)
        ascending = sorted(set(terms))
        assert listed(words) == encoded(ascending)
        assert [ascending[number] for number in numbers] == terms


@needs_kernels
def test_many_terms_with_one_beginning_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    terms = [f"beginning{number}" for number in rng.integers(0, 3000, 5000)]
    words, numbers = Words.of(terms).distinct(native())
    assert listed(words) == sorted(set(encoded(terms)))
    assert [listed(words)[number] for number in numbers] == encoded(terms)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [(b"\xff", [1]), ("\u00e9".encode(), [1, 1])],
    ids=["no UTF-8", "cut within a character"],
)
def test_garbled_terms_are_refused(text: bytes, sizes: list[int]) -> None:
    narrow, starts = pack(np.array(sizes))
    dictionary = Dictionary(np.frombuffer(text, np.uint8), Offsets(narrow, starts, len(text)))
    with pytest.raises(ValueError, match=r"decode|characters"):
        _ = dictionary.words


def dictionary_of(words: list[bytes]) -> Dictionary:
    narrow, starts = pack(np.array([len(word) for word in words], np.int64))
    text = np.frombuffer(b"".join(words), np.uint8)
    return Dictionary(text, Offsets(narrow, starts, len(text)))


@needs_kernels
@settings(deadline=None)
@given(TERMS, TERMS, st.integers(0, 300))
def test_both_ways_find_terms(terms: list[str], others: list[str], numbered: int) -> None:
    known = sorted({*terms, *(f"a{number}" for number in range(numbered))})
    dictionary = dictionary_of(encoded(known))
    wanted = [*known, *others, "", "a" * 300]
    found = dictionary.numbers(wanted).tolist()
    assert found == [known.index(term) if term in known else -1 for term in wanted]
    assert found == [dictionary._find(word) for word in encoded(wanted)]


@needs_kernels
@settings(deadline=None)
@given(st.binary(max_size=40), st.lists(st.integers(0, 70_000), max_size=200), st.data())
def test_both_ways_find_the_same_among_garbled_terms(
    text: bytes, sizes: list[int], data: st.DataObject
) -> None:
    narrow, starts = pack(np.array(sizes, np.int64))
    for place in range(len(starts) - 1):
        starts[place] = data.draw(st.integers(0, 2**32 - 1))
    offsets = Offsets(narrow, starts, int(starts[-1]))
    dictionary = Dictionary(np.frombuffer(text, np.uint8), offsets)
    wanted = ["", text[:3].decode("latin-1"), text[:1].decode("latin-1"), "\u00ff"]
    found = dictionary.numbers(wanted).tolist()
    assert found == [dictionary._find(word) for word in encoded(wanted)]


@settings(deadline=None)
@given(TERMS, st.text("ab\u00e9", max_size=2), st.integers(0, 4), st.integers(0, 8))
def test_terms_that_begin_so(terms: list[str], start: str, shortest: int, more: int) -> None:
    known = sorted({*terms, *(f"a{number}" for number in range(200))})
    sizes = range(shortest, shortest + more + 1)
    expected = [t for t in known if t.startswith(start) and len(*encoded([t])) in sizes]
    found = dictionary_of(encoded(known)).beginning(start, sizes.start, sizes.stop - 1)
    assert found == expected


def test_garbled_terms_that_begin_so_are_refused() -> None:
    with pytest.raises(ValueError, match="decode"):
        dictionary_of([b"a\xfe"]).beginning("a", 1, 9)
