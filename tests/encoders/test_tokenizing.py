from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from model_families import TEXTS, make_tokenizer

from searchlib.encoders.tokenizer_files import tokenizer_bytes
from searchlib.encoders.tokenizing import TOGETHER, Tokenizer
from searchlib.errors import UnsupportedModel

Tiny = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(made)
    return made


def terms(tokenizer: Tokenizer, text: str, prompt: str = "") -> list[str]:
    return [tokenizer.term(int(id)) for id in tokenizer.encode([text], prompt)[0]]


def test_special_tokens_go_around_a_text_that_is_cut(folder: Path) -> None:
    tokenizer = Tokenizer(folder, 6)
    assert terms(tokenizer, "the cat and dog near") == [
        "[CLS]",
        "the",
        "cat",
        "and",
        "dog",
        "[SEP]",
    ]
    assert terms(tokenizer, "") == ["[CLS]", "[SEP]"]
    assert terms(tokenizer, "cat", "red ") == ["[CLS]", "red", "cat", "[SEP]"]
    assert tokenizer.special_tokens_count == 2
    assert tokenizer.overhead("red ") == 3
    assert [tokenizer.term(int(i)) for i in tokenizer.words(["the cat"])[0]] == ["the", "cat"]


def test_many_texts_have_the_ids_that_each_has_alone(folder: Path) -> None:
    tokenizer = Tokenizer(folder, 6)
    texts = [" ".join(["cat", "dog", "near"][: number % 4]) for number in range(2 * TOGETHER + 7)]
    together = tokenizer.encode(texts, "red ")
    assert [ids.tolist() for ids in together] == [
        tokenizer.encode([text], "red ")[0].tolist() for text in texts
    ]
    assert [len(ids) for ids in tokenizer.words(texts)] == [n % 4 for n in range(len(texts))]


def test_spans_are_places_in_the_text_without_the_prompt(folder: Path) -> None:
    tokenizer = Tokenizer(folder, 7)
    text = "The catz near Ünder"
    spans = tokenizer.spans(text, "red ")
    assert len(spans) == len(terms(tokenizer, text, "red ")) == 7
    assert [text[a:b] for a, b in spans] == ["", "", "The", "cat", "z", "near", ""]
    assert [text[a:b] for a, b in tokenizer.offsets(text)][-5:] == ["Ü", "n", "d", "e", "r"] or [
        text[a:b] for a, b in tokenizer.offsets(text)
    ][-1] == "Ünder"


@pytest.mark.parametrize("byte_level", [False, True])
def test_offsets_cover_every_text_and_are_not_cut(byte_level: bool, tmp_path: Path) -> None:
    make_tokenizer(tmp_path, byte_level)
    tokenizer = Tokenizer(tmp_path, 5)
    for text in [*TEXTS, "\ud800 lone surrogate", "x" * 1000, "\0"]:
        offsets = tokenizer.offsets(text)
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
        assert offsets == sorted(offsets)
        assert len(tokenizer.encode([text])[0]) == min(len(offsets) + 2, 5)
    assert len(tokenizer.offsets("the cat " * 100)) >= 200


def test_lower(tmp_path: Path) -> None:
    make_tokenizer(tmp_path, byte_level=True)
    plain, lower = Tokenizer(tmp_path, 20), Tokenizer(tmp_path, 20, lower=True)
    assert terms(lower, "ThE") == terms(plain, "the") != terms(plain, "ThE")


@pytest.mark.parametrize("byte_level", [False, True])
def test_a_word_is_known_as_a_whole_or_not(byte_level: bool, tmp_path: Path) -> None:
    make_tokenizer(tmp_path, byte_level=byte_level)
    tokenizer = Tokenizer(tmp_path, 20)
    ids = {text: tokenizer.words([text])[0] for text in (" the", " thex")}
    assert len(ids[" the"]) == 1 < len(ids[" thex"])
    assert tokenizer.knows("the")
    assert not tokenizer.knows("thex")
    assert not tokenizer.knows("\U0001f9ff")  # one token at most, and that the unknown one


def test_tokenizer_without_tokenizer_json(folder: Path, tmp_path: Path) -> None:
    words = [line for line, _ in sorted(_vocabulary(folder).items(), key=lambda item: item[1])]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found, expected = Tokenizer(tmp_path, 40), Tokenizer(folder, 40)
    for text in TEXTS:
        assert terms(found, text) == terms(expected, text)


def test_case_in_tokenizer_config_wins(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "config.json").write_text('{"model_type": "bert"}')
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    assert terms(Tokenizer(copy, 9), "Cat cat") == ["[CLS]", "[UNK]", "cat", "[SEP]"]


def test_a_hash_of_all_files_that_a_tokenizer_is_made_from(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    alone = tokenizer_bytes(copy)
    (copy / "vocab.txt").write_text("nobody reads it")
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"do_lower_case": True}))
    assert tokenizer_bytes(copy) == alone
    (copy / "tokenizer_config.json").write_text(json.dumps(settings | {"do_lower_case": False}))
    assert tokenizer_bytes(copy) != alone
    (copy / "tokenizer.json").unlink()
    seen = {tokenizer_bytes(copy)}
    files = ("vocab.json", "merges.txt", "sentencepiece.bpe.model", "added_tokens.json")
    for number, name in enumerate(files, 2):
        for text in ("{}", "[]"):
            (copy / name).write_text(text)
            seen.add(tokenizer_bytes(copy))
        assert len(seen) == 2 * number - 1
    (copy / "README.md").write_text("nor this")
    assert tokenizer_bytes(copy) in seen


def test_files_that_make_no_tokenizer_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"not one")
    with pytest.raises(
        UnsupportedModel, match=r"no tokenizer can be made .*tokenizer\.json$"
    ) as told:
        Tokenizer(tmp_path, 9)
    assert "\n" not in str(told.value)
    assert ": )" not in str(told.value)


def test_no_tokenizer_and_a_damaged_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnsupportedModel, match="tokenizer"):
        Tokenizer(tmp_path, 9)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:500])
    with pytest.raises(UnsupportedModel, match=r"tokenizer\.json is damaged"):
        Tokenizer(tmp_path, 9)
    with pytest.raises(UnsupportedModel, match="illegal max_tokens value: 2"):
        Tokenizer(folder, 2)


def _vocabulary(folder: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = json.loads((folder / "tokenizer.json").read_text())["model"][
        "vocab"
    ]
    return vocabulary
