"""Each vector is made once: what is known is not encoded again, and is the same bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.snapshot import Snapshot
from searchlib import Document, Engine, Settings, intake, known
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.known import encode_once
from searchlib.types import Passage

SENTENCES = [
    f"The {a} in the {b} is {c}. A {b} and a {a}."
    for a in ("cat", "dog", "bird", "fish")
    for b in ("garden", "river", "boat", "oven", "tree")
    for c in ("asleep", "light", "water")
]
LONG = [" ".join(SENTENCES[start : start + 20]) for start in (0, 20, 40)]
Encoded = dict[str, list[str]]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    """The texts that each encoder has to read, in order."""
    texts: Encoded = {"dense": [], "sparse": []}
    for name, encoder in (("dense", DenseEncoder), ("sparse", SparseEncoder)):
        wrap(monkeypatch, encoder, texts[name])
    return texts


def wrap(monkeypatch: pytest.MonkeyPatch, encoder: type, texts: list[str]) -> None:
    original: Callable[..., object] = encoder.encode_document

    def counted(self: object, given: list[str]) -> object:
        texts.extend(given)
        return original(self, given)

    monkeypatch.setattr(encoder, "encode_document", counted)


def stored(path: Path) -> dict[str, tuple[bytes, dict[str, float]]]:
    """{passage: (its dense vector's bits, its sparse row as stored)} of an index."""
    with Snapshot.open(path) as snapshot:
        found = {}
        for id in snapshot.all_ids():
            [document] = snapshot.lookup([id])
            first, count = snapshot.passages_of(int(document))
            numbers = np.arange(first, first + count)
            dense = snapshot.stored_rows("dense", numbers)
            sparse = snapshot.stored_rows("sparse", numbers)
            for i in range(count):
                found[f"{id}#{i}"] = (dense[i].tobytes(), sparse.row(i))
        return found


def anew(path: Path, settings: Settings, documents: list[Document]) -> dict[str, object]:
    with Engine.create(path, settings) as engine:
        engine.add(documents)
    return stored(path)


def test_a_changed_passage_is_encoded_and_its_neighbours_are_not(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded
) -> None:
    long = [Document(f"d{n}", text, "Boat") for n, text in enumerate(LONG)]
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        first = engine.add(long)
        assert (first.encoded, first.known) == (len(set(encoded["dense"])), 0)
        assert first.passages > 12
        for texts in encoded.values():
            texts.clear()
        changed = replace(long[1], text=long[1].text[:-30] + " Bread and yeast.")
        report = engine.add([long[0], changed, long[2]])
        assert (report.updated, report.unchanged) == (1, 2)
        assert encoded["dense"] == encoded["sparse"]
        assert 1 <= report.encoded == len(encoded["dense"]) <= 2
        assert report.encoded + report.known == engine.info()["passages"]
        assert all("yeast" in text for text in encoded["dense"][-1:])
    assert stored(tmp_path / "i") == anew(
        tmp_path / "j", tiny_settings, [long[0], changed, long[2]]
    )


def test_metadata_alone_and_a_moved_start_encode_nothing_that_stayed(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded
) -> None:
    documents = [
        Document("a", LONG[0], "Boat", {"year": 1}), Document("b", "The cat sleeps.", "Cat")
    ]  # fmt: skip
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add(documents)
        encoded["dense"].clear()
        report = engine.add([replace(documents[0], metadata={"year": 2}), documents[1]])
        assert (report.updated, report.unchanged, report.encoded) == (1, 1, 0)
        assert encoded["dense"] == []
        # the title is part of what is encoded: a new one makes every passage new
        report = engine.add([replace(documents[1], title="Dog")])
        assert (report.updated, report.encoded, encoded["dense"]) == (1, 1, ["Dog The cat sleeps."])
        assert engine.verify() == []


def test_repeated_passages_are_encoded_once_in_a_corpus(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", 2)
    documents = [Document(f"d{n}", SENTENCES[n % 4]) for n in range(12)]
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        report = engine.add(documents)
    assert (report.passages, report.encoded, report.known) == (12, 4, 8)
    assert sorted(encoded["dense"]) == sorted(SENTENCES[:4])
    rows = stored(tmp_path / "i")
    assert all(rows[f"d{n}#0"] == rows[f"d{n % 4}#0"] for n in range(12))


def test_a_cache_serves_new_folders_and_other_settings_of_one_encoder(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded, corpus: list[Document]
) -> None:
    cache = tmp_path / "vectors.cache"
    with Engine.create(tmp_path / "one", tiny_settings) as engine:
        first = engine.add(corpus, cache=cache)
        assert first.encoded == len(encoded["dense"]) == len(set(encoded["dense"]))
    for texts in encoded.values():
        texts.clear()
    with Engine.create(tmp_path / "two", tiny_settings) as engine:
        assert engine.add(corpus, cache=cache).encoded == 0
    assert encoded == {"dense": [], "sparse": []}
    assert stored(tmp_path / "two") == stored(tmp_path / "one")
    pruned = replace(tiny_settings, sparse_documents=replace(Settings().sparse_documents, top_k=3))
    with Engine.create(tmp_path / "three", pruned) as engine:
        report = engine.add(corpus, cache=cache)
    assert report.encoded == len(encoded["sparse"]) == first.encoded
    assert encoded["dense"] == []
    alone = anew(tmp_path / "four", pruned, corpus)
    assert stored(tmp_path / "three") == alone


def test_replacing_again_and_again_never_drifts(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded
) -> None:
    document = Document("a", LONG[0], "Boat")
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([document, Document("b", "bread")])
        before = stored(tmp_path / "i")
        encoded["sparse"].clear()
        for year in range(4):
            engine.add([replace(document, metadata={"year": year})])
    assert encoded["sparse"] == []
    assert stored(tmp_path / "i") == before


def test_what_the_index_had_to_change_is_not_believed(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded
) -> None:
    """A lone surrogate is stored as U+FFFD: another text than the one that was encoded."""
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([Document("a", "The cat \ud800 sleeps")])
        encoded["dense"].clear()
        engine.add([Document("a", "The cat \ufffd sleeps")])
    assert encoded["dense"] == ["The cat \ufffd sleeps"]


def test_passages_cut_otherwise_are_not_believed(
    tmp_path: Path, tiny_settings: Settings, encoded: Encoded
) -> None:
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([Document("a", LONG[0])])
        asked = [(Document("a", LONG[0]), b"")], encoded["dense"]
        splitter = engine.splitter()

        def otherwise(document: Document) -> list[Passage]:
            return [replace(passage, end=passage.end - 1) for passage in splitter(document)]

        for other in (otherwise, lambda document: []):
            assert known.Earlier(engine.snapshot, other).passages(*asked).numbers == {}
        with engine.writing() as (_, pipeline):
            assert pipeline.earlier.passages(*asked).numbers.keys() == set(encoded["dense"])


def test_an_index_without_models_counts_no_encoding(tmp_path: Path) -> None:
    settings = Settings(dense_model=None, sparse_model=None)
    with Engine.create(tmp_path / "i", settings) as engine:
        report = engine.add([Document("a", "one"), Document("b", "two")])
        assert (report.encoded, report.known, report.passages) == (0, 0, 2)
        assert engine.add([Document("a", "one")]).known == 0


def test_no_texts_and_only_known_texts(tmp_path: Path, tiny_settings: Settings) -> None:
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([Document("a", "The cat sleeps"), Document("b", "A dog")])
        with engine.writing() as (_, pipeline):
            for name, dimension in (("dense", 32), ("sparse", None)):
                given = {"dimension": dimension, "cache": pipeline.cache}
                document = (Document("a", ""), b"")
                earlier = pipeline.earlier.passages([document], ["The cat sleeps", "new"])
                encoder = pipeline.passage_encoders[name]
                rows, unknown = encode_once(encoder, name, [], earlier=earlier, **given)
                assert (len(rows), unknown) == (0, [])
                texts = ["The cat sleeps", "new", "The cat sleeps"]
                rows, unknown = encode_once(encoder, name, texts, earlier=earlier, **given)
                assert unknown == ["new"]
                fresh = encoder.encode_document(texts)
                for i in range(3):
                    if isinstance(rows, np.ndarray):
                        assert (rows[i] == fresh[i]).all()  # type: ignore[index]
                    else:
                        assert rows.row(i) == pytest.approx(fresh.row(i), rel=1e-3)  # type: ignore[union-attr]


def test_a_document_without_text_is_like_nothing(tmp_path: Path, tiny_settings: Settings) -> None:
    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        engine.add([Document("none", ""), Document("blank", " \n "), Document("a", "the boat")])
        engine.add([Document("later", "")])
        scores = dict(engine.rank(["boat"], 4, retriever="dense")[0])
        assert scores.pop("a") != 0
        assert scores == {"none": 0, "blank": 0, "later": 0}
        assert engine.rank(["boat"], 4, retriever="sparse")[0].ids == ("a",)


def test_what_an_older_version_made_of_no_text_is_forgotten(
    tmp_path: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def something(like: Any, count: int) -> Any:
        return np.repeat(like[:1], count, 0) if isinstance(like, np.ndarray) else like.select(0, 1)

    with Engine.create(tmp_path / "i", tiny_settings) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(known, "_nothing", something)
            engine.add([Document("a", "the boat"), Document("none", "")])
        assert dict(engine.rank(["boat"], 2, retriever="dense")[0])["none"] != 0
        engine.reencode(replace(tiny_settings, k1=1.0))
        assert dict(engine.rank(["boat"], 2, retriever="dense")[0])["none"] == 0
        assert engine.rank(["boat"], 4, retriever="sparse")[0].ids == ("a",)
