"""Passages: cover the text in order, fit the window, begin and end at sensible places."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import slow_snippets
from blends import make_blend
from hypothesis import given
from hypothesis import strategies as st

from searchlib.config import Settings
from searchlib.errors import BadInput, UnsupportedModel
from searchlib.passages import split
from searchlib.representations import make_encoders, make_splitter, word_offsets
from searchlib.sentences import sentence_starts
from searchlib.types import Document


def words(text: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(r"\w+|[^\w\s]", text)]


def spaced_words(text: str) -> list[tuple[int, int]]:
    """Like byte-level BPE: the space before a word belongs to it."""
    return [m.span() for m in re.finditer(r"\s?\S+", text)]


def characters(text: str) -> list[tuple[int, int]]:
    return [(i, i + 1) for i, c in enumerate(text) if not c.isspace()]


def bytes_of(text: str) -> list[tuple[int, int]]:
    """Several pieces for one character, as byte-level tokenizers give for an emoji."""
    return [(i, i + 1) for i, c in enumerate(text) for _ in c.encode("utf-8", "surrogatepass")]


def one_unknown(text: str) -> list[tuple[int, int]]:
    """Like BERT on words without end: one piece each, however long."""
    return [m.span() for m in re.finditer(r"\S+", text)]


TOKENIZERS = [words, spaced_words, characters, bytes_of, one_unknown]
texts = st.lists(
    st.sampled_from(
        ["a ", "word ", "end. ", "What? ", "\n\n", "\n", "猫。", "  ", "🙂", "x" * 120, "Dr. ", "é"]
    ),
    max_size=60,
).map("".join) | st.text(max_size=80)


@pytest.mark.parametrize("offsets", TOKENIZERS, ids=lambda f: f.__name__)
@given(text=texts, title=st.sampled_from(["", "A title", "long " * 50]), data=st.data())
def test_passages_cover_the_text_in_order(offsets, text, title, data):
    size = data.draw(st.integers(1, 30))
    overlap = data.draw(st.integers(0, size - 1))
    passages = split(Document("d", text, title=title), offsets, size, overlap)
    assert [p.number for p in passages] == list(range(len(passages)))
    assert passages[0].start == 0
    assert passages[-1].end == len(text)
    for p in passages:
        assert p.document == "d"
        assert p.text.endswith(text[p.start : p.end])
        assert title.startswith(p.text[: len(p.text) - (p.end - p.start)][:-1])
    for before, after in pairwise(passages):
        assert before.start < after.start <= before.end < after.end


@pytest.mark.parametrize("offsets", [words, characters], ids=lambda f: f.__name__)
@given(text=texts, title=st.sampled_from(["", "A title", "long " * 50]), data=st.data())
def test_no_passage_is_longer_than_the_window(offsets, text, title, data):
    size = data.draw(st.integers(3, 30))
    overlap = data.draw(st.integers(0, size - 1))
    for passage in split(Document("d", text, title=title), offsets, size, overlap):
        assert len(offsets(passage.text)) <= max(size, 1)


@given(text=texts, size=st.integers(2, 30))
def test_a_character_of_several_pieces_is_never_cut_and_the_window_holds(text, size):
    for passage in split(Document("d", text), bytes_of, size, 0):
        n = len(bytes_of(passage.text))
        assert n <= size or passage.end - passage.start == 1


def test_short_text_is_one_passage_with_its_whole_title():
    (passage,) = split(Document("d", "Some text.", title="A rather long title"), words, 8, 2)
    assert passage.text == "A rather long title Some text."
    assert passage.id == "d#0"


@pytest.mark.parametrize("text", ["", " \n "])
@pytest.mark.parametrize("title", ["", "Title"])
def test_a_document_without_words_is_one_passage(text, title):
    (passage,) = split(Document("d", text, title=title), words, 8, 0)
    assert (passage.start, passage.end) == (0, len(text))
    assert passage.text == (f"{title} {text}" if title else text)


def test_cuts_are_at_sentence_ends():
    text = "The band played on. Nobody was listening. Then it rained. All went home."
    passages = split(Document("d", text), words, 11, 0)
    assert [text[p.start : p.end].strip() for p in passages] == [
        "The band played on. Nobody was listening.",
        "Then it rained. All went home.",
    ]


def test_overlap_begins_with_a_sentence():
    text = "One two three four five. Six seven. Eight nine ten eleven twelve. Thirteen."
    passages = split(Document("d", text), words, 12, 5)
    assert [text[p.start : p.end].strip() for p in passages] == [
        "One two three four five. Six seven.",
        "Six seven. Eight nine ten eleven twelve. Thirteen.",
    ]


def test_overlap_inside_a_sentence_begins_with_a_word():
    text = " ".join(f"word{i}" for i in range(20))
    passages = split(Document("d", text), characters, 30, 10)
    assert len(passages) > 3
    for before, after in pairwise(passages):
        assert text[after.start :].startswith("word")
        assert text[: before.end].endswith(" ")
        assert 0 < len(text[after.start : before.end].replace(" ", "")) <= 10


def test_lines_are_preferred_to_words():
    text = "one two three\nfour five six\nseven eight"
    first, *_ = split(Document("d", text), words, 7, 0)
    assert text[first.start : first.end] == "one two three\nfour five six\n"


def test_long_title_leaves_two_thirds_to_the_text():
    document = Document("d", "text " * 100, title="title " * 100)
    first, *_ = split(document, words, 30, 0)
    assert first.text.split().count("title") == 10
    assert first.text.split().count("text") == 20


def test_a_word_without_end_is_split():
    passages = split(Document("d", "x" * 250_000), one_unknown, 256, 0)
    assert max(p.end - p.start for p in passages) <= 512
    assert passages[-1].end == 250_000


def test_tokenizer_sees_bounded_chunks_that_do_not_cut_words():
    seen = []

    def offsets(text: str) -> list[tuple[int, int]]:
        seen.append(text)
        return words(text)

    text = "abcdefg. " * 40_000
    passages = split(Document("d", text), offsets, 100, 10)
    assert max(map(len, seen)) <= 100_000
    assert "".join(seen) == text
    assert {text[p.start : p.start + 8] for p in passages} == {"abcdefg."}


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_bad_sizes_are_refused(size, overlap):
    with pytest.raises(BadInput, match="must be"):
        split(Document("d", "text"), words, size, overlap)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]),
        ("Dr. Low met J. Hill. Yes.", ["Dr. Low met J. Hill. ", "Yes."]),
        ("It cost 3.50 euros. See Fig. 2 there.", ["It cost 3.50 euros. ", "See Fig. 2 there."]),
        ('He said "no." Then left.', ['He said "no." ', "Then left."]),
        ("e.g. this and i.e. that. Done", ["e.g. this and i.e. that. ", "Done"]),
        ("今日は晴れ。明日は雨！終わり", ["今日は晴れ。", "明日は雨！", "終わり"]),
        ("A heading\n\nA paragraph", ["A heading\n\n", "A paragraph"]),
        ("Wrapped at\nforty columns. Next", ["Wrapped at\nforty columns. ", "Next"]),
        ("List:\n- one\n- two", ["List:\n", "- one\n", "- two"]),
        ("Wait... what? No", ["Wait... what? ", "No"]),
        ("", [""]),
    ],
)
def test_sentences(text, sentences):
    starts = [*sentence_starts(text), len(text)]
    assert [text[a:b] for a, b in pairwise(starts)] == sentences


@given(texts)
def test_sentence_starts_ascend_within_the_text(text):
    starts = sentence_starts(text)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert all(start < len(text) for start in starts[1:])


BOUNDARIES = (
    "Dr", "e.g", "J", "fig", "approx", "Approximately", "3.5", "x_y", "a.b.c", "É", "U.S", ".", " ",
    "\n", "\n\n", "! ", "? ", ". ", ". ", ".\n", ". \n\n", "… ", "。", "- a", "1) b", '"', ".) ",
)  # fmt: skip


@given(
    texts
    | st.text(st.sampled_from(".!? \n\"'-1aA。？"))
    | st.lists(st.sampled_from(BOUNDARIES)).map("".join)
)
def test_sentence_starts_are_those_of_the_slow_way(text):
    assert sentence_starts(text) == slow_snippets.sentence_starts(text)


def test_no_abbreviation_ends_a_sentence_however_long():
    for word in (
        "cats",
        "approx",
        "e.g",
        "a.b.c.d",
        "x_approx",
        "3approx",
        "Ünprof",
        "J",
        "é",
        "É",
    ):
        for before in ("", " ", "\n", "_", "y"):
            text = f"Some {before}{word}. Then"
            assert sentence_starts(text) == slow_snippets.sentence_starts(text), text


def test_a_million_dots_are_no_trouble():
    assert sentence_starts("." * 1_000_000 + "x. Y") == [0, 1_000_003]


@given(st.text() | st.text(st.characters(max_codepoint=127)) | texts)
def test_words_are_those_of_the_pattern(text):
    assert word_offsets(text).tolist() == [list(m.span()) for m in re.finditer(r"\w+", text)]


@given(st.text("ab é.", max_size=60), st.text("ab é.", max_size=20), st.integers(0, 8))
def test_splitting_is_not_changed_by_knowing_that_a_document_fits(text, title, overlap):
    settings = Settings(None, None, passage_tokens=16, overlap=overlap)
    document = Document("d", text, title)
    assert make_splitter(settings, {})(document) == split(document, word_offsets, 14, overlap)


def test_one_word_too_many_is_noticed():
    splitter = make_splitter(Settings(None, None, passage_tokens=16, overlap=0), {})
    (fits,) = splitter(Document("d", "a b c d e f g", "a b c d e f g"))
    assert fits.text == "a b c d e f g a b c d e f g"
    (cut,) = splitter(Document("d", "a b c d e f g", "a b c d e f g h"))
    assert cut.text == "a b c d a b c d e f g"  # the title has a third of 14 words


def prompted(model: Path, copy: Path, prompt: str) -> str:
    """A copy of a model that reads a prompt before each document."""
    shutil.copytree(model, copy)
    said = {"prompts": {"document": prompt}}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(said))
    return str(copy)


@pytest.mark.parametrize("kind", ["dense", "sparse", "blend"])
def test_a_prompt_for_documents_takes_room_from_the_text(kind, tmp_path, tiny_dense, tiny_sparse):
    """What the model reads of a passage's end it has encoded: its window is 64 tokens."""
    dense, sparse = tiny_dense, tiny_sparse
    if kind == "sparse":
        sparse = prompted(sparse, tmp_path / "m", "the cat " * 5)
    else:
        dense = prompted(dense, tmp_path / "m", "the cat " * 5)
    if kind == "blend":
        sparse = make_blend(tmp_path / "b", sparse, Path(dense))
    named = {"dense": (str(dense), None), "sparse": (None, str(sparse))}
    settings = Settings(*named.get(kind, named["sparse"]), passage_tokens=100, overlap=2)
    plain = replace(settings, dense_model=str(tiny_dense), sparse_model=None)
    document = Document("d", "bread " * 200)
    sizes = {}
    for name, one in (("plain", plain), ("prompted", settings)):
        splitter = make_splitter(one, make_encoders(one, "cpu"))
        sizes[name] = max(len(passage.text.split()) for passage in splitter(document))
    assert sizes == {"plain": 62, "prompted": 52}
    short = make_splitter(replace(settings, passage_tokens=32), make_encoders(settings, "cpu"))
    assert max(len(passage.text.split()) for passage in short(document)) == 30


def test_a_prompt_that_leaves_no_room_is_refused(tmp_path, tiny_dense):
    model = prompted(tiny_dense, tmp_path / "m", "the cat " * 31)
    settings = Settings(model, None)
    with pytest.raises(UnsupportedModel, match="its prompt for them fills its window of 64"):
        make_splitter(settings, make_encoders(settings, "cpu"))
