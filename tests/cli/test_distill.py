"""`searchlib distill` and `searchlib gaps`, with tiny random models."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Run, write_jsonl
from tiny_models import make_bert

SONGS = [
    {"id": f"s{i}", "title": "Song", "text": text}
    for i, text in enumerate(
        ["the cat and the dog", "bread and water", "songs of the night", "a river and a boat",
         "the teacher reads books", "playing music in the garden", "the oven heats dough",
         "fever and medicine", "a car drives to school", "the tree has leaves and light",
         "fish in the river", "a band plays songs"]
    )
]  # fmt: skip


@pytest.fixture
def songs(folder: Path) -> Path:
    write_jsonl(folder / "songs.jsonl", *SONGS)
    return folder / "songs.jsonl"


def test_a_distilled_model_indexes_and_answers(
    cli: Run, songs: Path, folder: Path, tiny_dense: Path
) -> None:
    (made,) = cli("distill", songs, "--out", "fast", "--dense-model", tiny_dense).lines
    assert made["model"] == "fast"
    assert (made["dimension"], made["passages"]) == (32, 12)
    done = cli("index", "i.index", songs, "--dense-model", "fast", "--no-sparse")
    assert done.code == 0, done.err
    hits = cli("search", "i.index", "fish in the river", "-r", "dense", "-k", "2").lines
    assert "s10" in {hit["id"] for hit in hits}
    assert cli("distill", songs, "--out", "fast").error.endswith("name a new folder")


def test_an_index_is_distilled_with_its_own_model_and_vectors(
    cli: Run, songs: Path, tiny_dense: Path
) -> None:
    cli("index", "i.index", songs, "--dense-model", tiny_dense, "--no-sparse")
    shown = cli("distill", "i.index", "--out", "fast", "--format", "table")
    assert shown.code == 0, shown.err
    assert "of 32 numbers; on passages held out, cosine" in shown.out
    assert shown.out.endswith("next: searchlib reencode i.index --dense-model fast\n")
    again = cli("reencode", "i.index", "--dense-model", "fast")
    assert again.code == 0, again.err
    assert len(cli("search", "i.index", "boat", "-r", "dense").lines) == 10


def test_an_index_of_a_model_that_was_changed_in_its_place_teaches_nothing(
    cli: Run, songs: Path, folder: Path
) -> None:
    make_bert(folder / "model", masked=False, seed=5)
    cli("index", "i.index", songs, "--dense-model", "./model", "--no-sparse")
    make_bert(folder / "model", masked=False, seed=6)
    refused = cli("distill", "i.index", "--out", "fast")
    assert refused.code == 1
    assert "field 'dense' was built with another model" in refused.error
    assert not (folder / "fast").exists()


def test_word_vectors(cli: Run, songs: Path, folder: Path) -> None:
    (folder / "w.vec").write_text("3 2\nfish 1 0\nriver 1 1\nbread 0 1\n")
    (made,) = cli("distill", songs, "--out", "words", "--vectors", "w.vec").lines
    assert made["tokens"] == 5
    assert 0 < made["known"] < 1
    told = cli("distill", songs, "--out", "told", "--vectors", "w.vec", "--format", "table").out
    assert f"{made['known']:.1%} of the words in 12 passages have one" in told
    (folder / "w.vec").write_text("2 2\nFISH 1 0\nRIVER 1 1\n")
    refused = cli("distill", songs, "--out", "none", "--vectors", "w.vec")
    assert (refused.code, refused.out) == (1, "")
    assert "w.vec has a vector of no word of the texts" in refused.error
    assert cli("index", "i.index", songs, "--dense-model", "words", "--no-sparse").code == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--sample", "5"), "illegal sample value: 5, must be 10 or more"),
        (("--dimension", "400", "--dense-model", "MODEL"), "must be between 2 and 32"),
        (("--vectors", "absent.vec"), "cannot read absent.vec"),
        (("--dense-model", "./absent"), "does not exist"),
    ],
)
def test_mistakes_are_one_line(
    cli: Run, songs: Path, tiny_dense: Path, options: tuple[str, ...], reason: str
) -> None:
    given = [str(tiny_dense) if option == "MODEL" else option for option in options]
    result = cli("distill", songs, "--out", "x", *given)
    assert result.code == 1
    assert reason in result.error
    assert not Path("x").exists()


def test_vectors_and_a_model_do_not_go_together(cli: Run, songs: Path) -> None:
    result = cli("distill", songs, "--out", "x", "--vectors", "w.vec", "--words", "5")
    assert result.code == 2


def test_too_few_texts(cli: Run, folder: Path, tiny_dense: Path) -> None:
    result = cli("distill", "notes.jsonl", "--out", "x", "--dense-model", tiny_dense)
    assert "10 are the least" in result.error


def test_gaps_of_a_corpus_and_of_an_index(cli: Run, songs: Path, tiny_sparse: Path) -> None:
    asked = ("--pieces", "2", "-k", "1")
    (gap,) = cli("gaps", songs, "--model", tiny_sparse, *asked).lines
    assert (gap["word"], gap["documents"], gap["pieces"]) == ("songs", 2, ["song", "##s"])
    cli("index", "i.index", songs, "--sparse-model", tiny_sparse, "--no-dense")
    assert cli("gaps", "i.index", *asked).lines == [gap]
    shown = cli("gaps", "i.index", *asked, "--format", "table").out
    assert "song ##s" in shown
    assert "of the idf mass of 12 documents" in " ".join(shown.split())
