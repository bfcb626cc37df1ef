"""Two models at once: an index is made anew with other settings while the old one serves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_bert

from indexes.directory import FileDirectory
from indexes.errors import Locked
from indexes.writer import Writer
from searchlib import Document, Engine, Settings, indexing, intake, successor
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.pruning import Pruning
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import BadInput, ModelMismatch

QUERIES = ["the cat in the tree", "bread dough", "a boat"]
RETRIEVERS = [
    "bm25", "bm25_passage", "sparse", "lookup", "dense", "static", "hybrid", "instant",
]  # fmt: skip


@pytest.fixture(scope="module")
def other_dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another dense model, which reads less at once: documents are cut otherwise."""
    return make_bert(tmp_path_factory.mktemp("other"), masked=False, seed=7, max_tokens=24)


@pytest.fixture
def new_settings(tiny_settings: Settings, other_dense: Path) -> Settings:
    return replace(tiny_settings, dense_model=str(other_dense))


@pytest.fixture
def engine(tmp_path: Path, tiny_settings: Settings, corpus: list[Document]) -> Iterator[Engine]:
    with Engine.create(tmp_path / "i", tiny_settings) as made:
        made.add(corpus)
        yield made


def answers(engine: Engine) -> dict[str, list[dict[str, float]]]:
    return {
        name: [dict(ranking) for ranking in engine.rank(QUERIES, 50, retriever=name)]
        for name in engine.retriever_names()
    }


def assert_equal_to_a_fresh_one(
    engine: Engine, path: Path, settings: Settings, documents: list[Document]
) -> None:
    with Engine.create(path, settings) as fresh:
        fresh.add(documents)
        expected, found = answers(fresh), answers(engine)
        assert expected.keys() == found.keys()
        for name, rankings in expected.items():
            for ranking, other in zip(rankings, found[name], strict=True):
                assert other == pytest.approx(ranking, abs=1e-5), name
        assert engine.info()["fields"] == fresh.info()["fields"]
        assert engine.info()["passages"] == fresh.info()["passages"]
    assert engine.settings == settings.resolved()
    assert engine.verify() == []


def test_it_is_what_a_fresh_index_would_be(
    tmp_path: Path, engine: Engine, new_settings: Settings, corpus: list[Document]
) -> None:
    before = engine.info()["passages"]
    report = engine.reencode(new_settings)
    assert (report.added, report.updated, report.unchanged) == (7, 0, 0)
    assert engine.info()["passages"] > before
    assert_equal_to_a_fresh_one(engine, tmp_path / "fresh", new_settings, corpus)
    assert not (engine.path / "successor").exists()
    assert engine.add(corpus).unchanged == 7  # it knows the documents by their contents
    hit = engine.search("boat", 1, explain=True)[0]
    assert hit.explanation is not None
    with Engine.open(engine.path) as again:
        assert answers(again) == answers(engine)


def test_another_analyzer_is_told_and_costs_no_vectors(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update that makes words otherwise."""
    from searchlib.encoders import analyzer
    from searchlib.encoders.dense import DenseEncoder
    from searchlib.encoders.sparse import SparseEncoder

    monkeypatch.setattr(analyzer, "_VERSION", analyzer._VERSION + 1)
    with Engine.open(engine.path) as updated:
        with pytest.raises(ModelMismatch, match="encode again: `searchlib reencode`"):
            updated.search("boat")
        encoded = [count(monkeypatch, kind) for kind in (DenseEncoder, SparseEncoder)]
        report = updated.reencode(updated.settings)
        assert (report.documents, report.encoded) == (7, 0)
        assert encoded == [[], []]
        assert updated.search("boat")


def count(monkeypatch: pytest.MonkeyPatch, encoder: type) -> list[str]:
    texts: list[str] = []
    original: Callable[..., object] = encoder.encode_document

    def counted(self: object, given: list[str]) -> object:
        texts.extend(given)
        return original(self, given)

    monkeypatch.setattr(encoder, "encode_document", counted)
    return texts


def test_the_other_model_does_not_encode_again(
    tmp_path: Path, engine: Engine, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_bert(tmp_path / "model", masked=False, seed=9)
    sparse, dense = count(monkeypatch, SparseEncoder), count(monkeypatch, DenseEncoder)
    report = engine.reencode(replace(tiny_settings, dense_model=str(model)))
    assert sparse == []
    assert len(dense) == report.encoded == len(set(dense)) > 5
    dense.clear()
    engine.reencode(replace(tiny_settings, dense_model=str(model), k1=1.2))
    assert (sparse, dense) == ([], [])
    assert engine.settings.k1 == 1.2


def test_a_representation_may_come_and_go(
    tmp_path: Path, engine: Engine, tiny_settings: Settings, corpus: list[Document]
) -> None:
    for settings in (replace(tiny_settings, sparse_model=None), tiny_settings):
        engine.reencode(settings)
        path = tmp_path / f"fresh {settings.sparse_model is None}"
        assert_equal_to_a_fresh_one(engine, path, settings, corpus)


def test_nothing_to_do_writes_nothing(engine: Engine, tiny_settings: Settings) -> None:
    before = (engine.path / "manifest.json").read_bytes()
    assert engine.reencode(tiny_settings).documents == 0
    assert (engine.path / "manifest.json").read_bytes() == before


def test_a_model_that_was_changed_in_its_place(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    model = make_bert(tmp_path / "model", masked=False, seed=5)
    settings = replace(tiny_settings, dense_model=str(model))
    with Engine.create(tmp_path / "i", settings) as engine:
        engine.add(corpus)
    make_bert(model, masked=False, seed=6)
    with Engine.open(tmp_path / "i") as engine:
        engine.reencode(settings)
        assert_equal_to_a_fresh_one(engine, tmp_path / "fresh", settings, corpus)


def test_a_model_that_is_gone_is_not_needed(
    tmp_path: Path, tiny_settings: Settings, corpus: list[Document]
) -> None:
    model = make_bert(tmp_path / "model", masked=False, seed=5)
    with Engine.create(tmp_path / "i", replace(tiny_settings, dense_model=str(model))) as engine:
        engine.add(corpus)
    shutil.rmtree(model)
    with Engine.open(tmp_path / "i") as engine:
        engine.reencode(tiny_settings)
        assert_equal_to_a_fresh_one(engine, tmp_path / "fresh", tiny_settings, corpus)


def during(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> None:
    """Let something happen after each chunk that the successor takes in."""
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", 2)
    monkeypatch.setattr(successor, "AT_ONCE", 2)
    original = indexing.Pipeline._write
    calls = [0]

    def write(self: indexing.Pipeline, writer: Any, documents: Any, *rest: Any) -> Any:
        result = original(self, writer, documents, *rest)
        if documents and len(writer.fields) and writer._directory.root.name == "successor":
            calls[0] += 1
            happens(calls[0])
        return result

    monkeypatch.setattr(indexing.Pipeline, "_write", write)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_the_old_one_serves_and_is_written_to_meanwhile(
    *,
    rounds: int,
    tmp_path: Path, engine: Engine, new_settings: Settings, corpus: list[Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Documents come, change and go, and the answers are those of the old model until the end."""
    changed = replace(corpus[1], text="A dog in the garden.")
    late = [Document(f"late {n}", "The bird is in the boat.") for n in range(3)]

    monkeypatch.setattr(successor, "ROUNDS", rounds)

    def write(step: int) -> None:
        with Engine.open(engine.path) as other:
            assert other.search("cat", retriever="dense")
            if rounds == 0:  # nobody else may write then
                with pytest.raises(Locked):
                    other.delete(["blues"])
            elif step == 1:
                other.delete(["blues", "bread"])
                other.add([changed, late[0]])
            elif step <= 3:
                other.add([late[step - 1]])

    during(monkeypatch, write)
    engine.reencode(new_settings)
    documents = [d for d in corpus if d.id not in ("blues", "bread", "cat")] + [changed, *late]
    documents = documents if rounds else corpus
    assert_equal_to_a_fresh_one(engine, tmp_path / "fresh", new_settings, documents)


def test_a_reader_that_is_open_sees_the_new_one_when_it_asks(
    engine: Engine, new_settings: Settings
) -> None:
    with Engine.open(engine.path) as reader:
        before = answers(reader)
        engine.reencode(new_settings)
        assert answers(reader) == before
        reader.refresh()
        assert answers(reader) == answers(engine) != before
        assert reader.add([Document("new", "The cat.")]).added == 1


def test_a_writer_that_was_open_does_not_use_the_old_model(
    engine: Engine, new_settings: Settings
) -> None:
    with Engine.open(engine.path) as other:
        other.search("cat")
        engine.reencode(new_settings)
        other.add([Document("new", "The cat is in the boat.")])
        engine.refresh()
        assert answers(other) == answers(engine)
        assert other.verify() == []


class Died(BaseException):
    """The power went out."""


def dying(patch: pytest.MonkeyPatch, fatal: int) -> None:
    """From the `fatal`-th operation of any directory on, nothing is written any more."""
    left = [fatal]

    def wrapped(name: str) -> None:
        original = getattr(FileDirectory, name)

        def step(self: FileDirectory, *arguments: object) -> object:
            left[0] -= 1
            if left[0] <= 0:
                raise Died
            return original(self, *arguments)

        patch.setattr(FileDirectory, name, step)

    for name in ("create", "build", "adopt", "sync", "replace", "remove", "lock"):
        wrapped(name)


def test_a_crash_at_any_write_leaves_one_of_both_and_the_next_run_ends_it(
    tmp_path: Path, new_settings: Settings, tiny_settings: Settings, corpus: list[Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", 3)
    monkeypatch.setattr(successor, "AT_ONCE", 3)
    monkeypatch.setattr(indexing, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    documents = corpus[:5]
    with Engine.create(tmp_path / "origin", tiny_settings) as engine:
        engine.add(documents)
        old = answers(engine)
    with Engine.create(tmp_path / "new", new_settings) as engine:
        engine.add(documents)
        new = answers(engine)
    outcomes: list[bool] = []
    for fatal in range(1, 500):
        path = tmp_path / f"i{fatal}"
        shutil.copytree(tmp_path / "origin", path)
        with Engine.open(path) as engine, monkeypatch.context() as patch:
            dying(patch, fatal)
            try:
                engine.reencode(new_settings)
            except Died:
                pass
            else:
                break
        with Engine.open(path) as engine:
            assert engine.verify() == []
            found = answers(engine)
            outcomes.append(engine.settings == new_settings)
            expected = new if outcomes[-1] else old
            for name in RETRIEVERS:
                for ranking, other in zip(expected[name], found[name], strict=True):
                    assert other == pytest.approx(ranking, abs=1e-5)
            engine.reencode(new_settings)
            assert engine.settings == new_settings
            assert not (path / "successor").exists()
            assert engine.verify() == []
            for ranking, other in zip(new["dense"], answers(engine)["dense"], strict=True):
                assert other == pytest.approx(ranking, abs=1e-5)
        shutil.rmtree(path)
    assert len(outcomes) > 15
    assert outcomes == sorted(outcomes)
    assert not outcomes[0]
    assert outcomes[-1]


def test_what_was_encoded_before_a_crash_is_not_encoded_again(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: int) -> None:
        if step == 3:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "COMMIT_SECONDS", 0.0)
        during(patch, die)
        with pytest.raises(Died):
            engine.reencode(new_settings)
    with Engine.open(engine.path / "successor") as begun:
        done = begun.snapshot.n_documents
    assert done >= 2
    assert engine.reencode(new_settings).added == 7 - done


def test_another_one_that_was_begun_is_not_thrown_away(
    engine: Engine, new_settings: Settings, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: int) -> None:
        raise Died

    with monkeypatch.context() as patch:
        during(patch, die)
        with pytest.raises(Died):
            engine.reencode(new_settings)
    other = replace(tiny_settings, dense_model=None)
    with pytest.raises(BadInput, match="a re-encoding with other settings or models was begun"):
        engine.reencode(other)
    engine.abandon_reencoding()
    engine.abandon_reencoding()
    engine.reencode(other)
    assert "dense" not in engine.retriever_names()


def commit(path: Path, **settings: Any) -> None:
    """Change settings as `tune` does."""
    with Writer.open(path) as writer, Engine.open(path) as engine:
        writer.commit(replace(engine.settings, **settings).to_json())


def test_what_others_commit_meanwhile_is_carried_over(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and tables of queries; not what this one is to change itself."""
    commit(engine.path, bm25_weight=0.7)  # this engine has not seen it

    def tune(step: int) -> None:
        if step == 1:
            commit(engine.path, dense_weight=0.5, smoothing=0.2)
        if step == 3:
            commit(engine.path, static_queries=None)

    during(monkeypatch, tune)
    asked = replace(new_settings, smoothing=0.0)
    engine.reencode(asked)
    expected = replace(asked, bm25_weight=0.7, dense_weight=0.5, static_queries=None)
    assert engine.settings == expected.resolved()
    with Engine.open(engine.path) as again:
        assert again.settings == engine.settings
        assert "static" not in again.retriever_names()


def test_it_goes_on_after_others_have_tuned(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: int) -> None:
        if step == 2:
            raise Died

    with monkeypatch.context() as patch:
        during(patch, die)
        with pytest.raises(Died):
            engine.reencode(new_settings)
    commit(engine.path, dense_weight=0.5)
    with Engine.open(engine.path) as again:
        dense = new_settings.dense_model
        again.reencode(replace(again.settings, dense_model=dense))
        assert (again.settings.dense_model, again.settings.dense_weight) == (dense, 0.5)
    assert not (engine.path / "successor").exists()


def test_what_no_row_depends_on_is_changed_without_encoding(
    engine: Engine, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, sparse = count(monkeypatch, DenseEncoder), count(monkeypatch, SparseEncoder)
    commit(engine.path, bm25_weight=0.7)
    asked = replace(tiny_settings, smoothing=0.1, sparse_queries=Pruning(top_k=3))
    assert engine.reencode(asked).documents == 0
    assert engine.settings == replace(asked, bm25_weight=0.7)
    assert (dense, sparse) == ([], [])


def test_an_index_that_another_one_has_taken_over_is_left_alone(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = successor.patient_writer

    def late(path: Path) -> Writer:
        commit(path, overlap=2)
        return original(path)

    monkeypatch.setattr(successor, "patient_writer", late)
    with pytest.raises(ModelMismatch, match="was encoded anew by another process meanwhile"):
        engine.reencode(new_settings)
    assert engine.settings.overlap == 2
    assert engine.settings.dense_model != new_settings.dense_model


def test_two_at_once_are_refused(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(step: int) -> None:
        with Engine.open(engine.path) as other:
            with pytest.raises(Locked):
                other.reencode(new_settings)
            with pytest.raises(Locked):
                other.abandon_reencoding()

    during(monkeypatch, again)
    engine.reencode(new_settings)
    assert engine.settings == new_settings


def test_it_waits_for_another_writer(
    engine: Engine, new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successor, "PATIENCE", 0.3)
    with FileDirectory(engine.path).lock(), pytest.raises(Locked, match="is being written by"):
        engine.reencode(new_settings)
    monkeypatch.setattr(successor, "PATIENCE", 60.0)
    held = FileDirectory(engine.path).lock()
    held.__enter__()
    release = threading.Timer(0.5, lambda: held.__exit__(None, None, None))
    release.start()
    engine.reencode(new_settings)
    release.join()
    assert engine.settings == new_settings


def test_half_of_a_successor_is_made_anew(engine: Engine, new_settings: Settings) -> None:
    (engine.path / "successor").mkdir()
    (engine.path / "successor" / "s000001.store").write_text("left behind")
    engine.reencode(new_settings)
    assert engine.settings == new_settings
    assert not (engine.path / "successor").exists()


KILLED = """
import sys
from dataclasses import replace
from searchlib import Engine, indexing, intake, successor
intake.CHUNK_DOCUMENTS = successor.AT_ONCE = 2
indexing.COMMIT_SECONDS = 0.0
with Engine.open(sys.argv[1]) as engine:
    print("begun", flush=True)
    engine.reencode(
        replace(engine.settings, dense_model=sys.argv[2]),
        on_progress=lambda done, total, note="": print(done, flush=True),
    )
"""


def test_a_process_that_is_killed(
    tmp_path: Path, engine: Engine, new_settings: Settings, corpus: list[Document]
) -> None:
    for lines in (1, 4, 9):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(engine.path), str(new_settings.dense_model)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        engine.refresh()
        assert engine.search("cat")
        assert engine.verify() == []
    engine.reencode(new_settings)
    assert_equal_to_a_fresh_one(engine, tmp_path / "fresh", new_settings, corpus)
