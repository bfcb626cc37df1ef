"""Snapshots: what they answer does not depend on segments, deleted documents or later commits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import index_cases as cases
import numpy as np
import pytest
from index_cases import DIM, FIELDS, WORDS, all_answers, create, query, record, rows

from indexes import policy
from indexes.directory import FileDirectory
from indexes.errors import Damaged, NoIndex, SearchlibError
from indexes.manifest import MANIFEST, VectorField, read_manifest
from indexes.similarity import BM25
from indexes.snapshot import Selection, Snapshot
from indexes.types import TermVectors
from indexes.writer import Writer

DOCS = [
    record("a", "red fish", "blue fish fish", year=2001, lang="en"),
    record("b", "one fish two fish", year=1999, lang="fr"),
    record("c", "old bird", "red red bird", "one", year=2010, lang="en"),
    record("d", "new bird new", year=2020),
]


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """DOCS in two segments, with dead documents in between."""
    monkeypatch.setattr(policy, "MAX_DEAD", 1)
    with Writer.create(tmp_path / "i", FIELDS, {"hello": [1]}) as writer:
        first = [record("x", "red red red", "fish"), *DOCS[:2], record("c", "to be replaced")]
        writer.add(first, rows(first))
        writer.commit()
        second = [DOCS[2], record("y", "bird"), DOCS[3]]
        writer.add(second, rows(second))
        writer.delete(["x"])
        writer.commit()
        writer.delete(["y"])
        writer.commit()
    return Snapshot.open(tmp_path / "i")


def test_bm25_by_hand(snapshot: Snapshot) -> None:
    """Live: 4 documents of 5, 4, 6 and 3 words; "red" is in a (once) and c (twice).

    idf = ln(1 + (4 - 2 + .5) / (2 + .5)) = ln 2; for c: 2 / (2 + .9 (.6 + .4 * 6 / 4.5)).
    """
    scores = cases.answers(snapshot, "bm25", query("red"))
    assert scores == pytest.approx(
        {
            "c": np.log(2) * 2 / (2 + 0.9 * (0.6 + 0.4 * 6 / 4.5)),
            "a": np.log(2) * 1 / (1 + 0.9 * (0.6 + 0.4 * 5 / 4.5)),
        }
    )


def test_the_terms_of_a_field(snapshot: Snapshot) -> None:
    """Of live rows: x, y and the first c are dead; "two" is in b only, once a passage."""
    words = snapshot.vocabulary("bm25")
    assert words.frequency(["red", "bird", "two", "absent"]).tolist() == [2, 2, 1, 0]
    assert snapshot.vocabulary("bm25_passage").frequency(["red", "fish"]).tolist() == [2, 3]
    assert words.beginning("b", 1, 9) == ["be", "bird", "blue"]  # "be" of a dead one
    assert words.beginning("b", 3, 4) == ["bird", "blue"]
    assert words.beginning("q", 1, 9) == []
    for field in ("dense", "missing"):
        with pytest.raises(ValueError, match=f"no field '{field}' of terms"):
            snapshot.vocabulary(field)


def test_a_document_has_the_score_of_its_best_passage(snapshot: Snapshot) -> None:
    for field, asked in [
        ("bm25_passage", query("red", "fish")),
        ("sparse", query("red", "fish", "one")),
        ("dense", cases.vectors(["red bird"])),
    ]:
        [passages] = snapshot.search(field, asked, 100, "passage")
        best: dict[int, float] = {}
        for passage, score in zip(passages.ids.tolist(), passages.scores.tolist(), strict=True):
            best.setdefault(int(snapshot.documents_of(np.array([passage]))[0]), score)
        [documents] = snapshot.search(field, asked, 100)
        assert best == dict(zip(documents.ids.tolist(), documents.scores.tolist(), strict=True))
        one_query = asked[0] if isinstance(asked, np.ndarray) else asked
        scores = snapshot.scores(field, one_query, documents.ids)
        assert scores.tolist() == documents.scores.tolist()
        again = snapshot.scores(field, one_query, passages.ids, "passage")
        assert again.tolist() == passages.scores.tolist()


def test_scores_of_documents_that_match_nothing(snapshot: Snapshot) -> None:
    everything = snapshot.lookup(["a", "b", "c", "d"])
    assert snapshot.scores("bm25", query("absent"), everything).tolist() == [0] * 4
    scores = snapshot.scores("sparse", query("bird"), everything)
    assert scores.tolist() == [0.0, 0.0, 0.5, 0.5]
    assert len(snapshot.scores("sparse", query("bird"), everything[:0])) == 0


def test_the_explanation_adds_up(snapshot: Snapshot) -> None:
    asked = TermVectors.of([{"red": 2.0, "fish": 0.5, "absent": 1.0, "bird": 1.5}])
    for field, unit in [("bm25", "document"), ("bm25_passage", "passage"), ("sparse", "passage")]:
        [top] = snapshot.search(field, asked, 10, unit)  # type: ignore[arg-type]
        for id, score in zip(top.ids.tolist(), top.scores.tolist(), strict=True):
            parts = snapshot.explain(field, asked, id)
            assert sum(part.contribution for part in parts) == pytest.approx(score, rel=1e-6)
    document = int(snapshot.lookup(["d"])[0])
    [bird] = snapshot.explain("bm25", asked, document)
    assert (bird.term, bird.weight, bird.document_frequency) == ("bird", 1.0, 2)


def test_another_similarity(snapshot: Snapshot) -> None:
    flat = cases.answers(snapshot, "bm25", query("fish"), similarity=BM25(k1=0, b=0))
    assert flat == pytest.approx(dict.fromkeys("ab", np.log(2)))


def test_k_and_ties(snapshot: Snapshot) -> None:
    [top] = snapshot.search("bm25", query("fish"), 1)
    assert len(top.ids) == 1
    [tied] = snapshot.search("sparse", query("one"), 10)
    assert tied.scores.tolist() == [0.5, 0.5]
    assert tied.ids.tolist() == sorted(tied.ids.tolist())
    several = TermVectors.of([{"fish": 1.0}, {}, {"bird": 1.0, "red": 2.0}])
    batch = snapshot.search("sparse", several, 3)
    assert [len(top.ids) for top in batch] == [2, 0, 3]
    for i, top in enumerate(batch):
        [alone] = snapshot.search("sparse", several.select(i, i + 1), 3)
        assert alone.ids.tolist() == top.ids.tolist()
        assert alone.scores.tolist() == top.scores.tolist()


# --- filters


@pytest.mark.parametrize("field", ["bm25", "bm25_passage", "sparse", "dense"])
def test_k_results_come_back_when_k_match(snapshot: Snapshot, field: str) -> None:
    where = snapshot.select('lang != "en" and year >= 1999')
    assert len(where) == 2
    asked = cases.vectors(["red fish"]) if field == "dense" else query(*WORDS)
    units = ["document"] if field == "bm25" else ["document", "passage"]
    for unit in units:
        [top] = snapshot.search(field, asked, 2, unit, where)  # type: ignore[arg-type]
        documents = top.ids if unit == "document" else snapshot.documents_of(top.ids)
        assert set(snapshot.ids(documents)) == {"b", "d"}
    [nothing] = snapshot.search(field, asked, 2, where=snapshot.select("id = 'nobody'"))
    assert len(nothing.ids) == 0


def test_selections_hold_no_dead_documents(snapshot: Snapshot) -> None:
    assert len(snapshot.select('title ^= "title"')) == snapshot.n_documents == 4
    assert len(snapshot.select("id in ('x', 'y', 'a')")) == 1


# --- numbers and records


def test_documents_and_passages(snapshot: Snapshot) -> None:
    [c, absent, dead] = snapshot.lookup(["c", "nobody", "x"]).tolist()
    assert (absent, dead) == (-1, -1)
    first, count = snapshot.passages_of(c)
    assert count == 3
    passages = np.arange(first, first + count)
    assert snapshot.documents_of(passages).tolist() == [c, c, c]
    assert snapshot.passage_number(passages).tolist() == [0, 1, 2]
    assert snapshot.ids(np.array([c, *snapshot.lookup(["a", "c"])])) == ["c", "a", "c"]
    firsts, counts = snapshot.passages_of_each(snapshot.lookup(["d", "c"]))
    assert list(zip(firsts.tolist(), counts.tolist(), strict=True)) == [
        snapshot.passages_of(int(document)) for document in snapshot.lookup(["d", "c"])
    ]
    shown = snapshot.excerpts(np.array([*passages[::-1], *firsts]), 1000)
    assert [(e.id, e.text) for e in shown] == [
        (one.id, one.text[start:end])
        for one, places in (
            (DOCS[2], DOCS[2].passages[::-1]),
            (DOCS[3], DOCS[3].passages[:1]),
            (DOCS[2], DOCS[2].passages[:1]),
        )
        for start, end in places
    ]
    order = snapshot.lookup(["d", "a", "d"])
    assert snapshot.records(order) == [DOCS[3], DOCS[0], DOCS[3]]
    assert list(snapshot.all_ids()) == ["a", "b", "c", "d"]
    assert snapshot.hashes(["a", "x", "nobody"]) == {"a": DOCS[0].hash}
    assert (snapshot.n_documents, snapshot.n_passages, snapshot.n_segments) == (4, 7, 2)


def test_wrong_use_is_one_line(snapshot: Snapshot) -> None:
    vector = np.zeros((1, DIM), np.float32)
    wrong = [
        (lambda: snapshot.search("nope", query("a"), 1), "no field 'nope', the index has bm25"),
        (lambda: snapshot.search("bm25", query("a"), 0), "illegal k: 0"),
        (lambda: snapshot.search("bm25", query("a"), 1, "passage"), "ranks documents"),
        (lambda: snapshot.scores("bm25", query("a"), np.array([0]), "passage"), "ranks documents"),
        (lambda: snapshot.search("bm25", vector, 1), "takes TermVectors, not ndarray"),
        (lambda: snapshot.search("dense", query("a"), 1), r"takes vectors of shape \(n, 4\)"),
        (lambda: snapshot.search("dense", vector[:, :2], 1), r"takes vectors of shape \(n, 4\)"),
        (lambda: snapshot.explain("dense", query("a"), 0), "no named parts"),
        (lambda: snapshot.search("dense", vector, 1, "passage", Selection(())), "another snapshot"),
        (lambda: snapshot.ids(np.array([99])), "illegal document number"),
        (lambda: snapshot.documents_of(np.array([-1])), "illegal passage number"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_empty_index(tmp_path: Path) -> None:
    create(tmp_path / "i")
    with Snapshot.open(tmp_path / "i") as empty:
        assert all_answers(empty) == {name: {} for name in all_answers(empty)}
        assert (empty.n_documents, empty.n_passages, empty.nbytes) == (0, 0, 0)
        assert empty.lookup(["a"]).tolist() == [-1]
        assert len(empty.select("year > 3")) == 0
        assert empty.verify() == list(empty.all_ids()) == []


def test_codes_answer_as_the_scan_does(tmp_path: Path) -> None:
    coded = VectorField("dense", DIM, "passage", "pq")
    records = [record(f"d{n}", f"text {n}", f"more {n}") for n in range(150)]
    with Writer.create(tmp_path / "i", [coded]) as writer:
        for part in (records[:100], records[100:]):
            writer.add(part, {"dense": cases.vectors(cases.texts(part))})
            writer.commit()
        writer.delete([f"d{n}" for n in range(0, 150, 3)])
        writer.commit()
        for _ in range(2):
            with Snapshot.open(tmp_path / "i") as snapshot:
                assert snapshot.field_bytes()["dense"] > snapshot.n_passages * DIM * 4
                asked = cases.vectors(["anything"])
                [found] = snapshot.search("dense", asked, 5)
                [exact] = snapshot.search("dense", asked, 5, exact=True)
                assert found.ids.tolist() == exact.ids.tolist()
                assert found.scores.tolist() == exact.scores.tolist()
                assert snapshot.verify() == []
            writer.merge()


# --- snapshots stay


def test_a_snapshot_outlives_its_files(tmp_path: Path, snapshot: Snapshot) -> None:
    before = all_answers(snapshot)
    path = tmp_path / "i"
    old = read_manifest(FileDirectory(path)).files.keys()
    with Writer.open(path) as writer:
        writer.delete(["a", "b", "c"])
        writer.merge()
    assert not any((path / name).exists() for name in old)
    assert all_answers(snapshot) == before
    assert snapshot.records(snapshot.lookup(["c"])) == [DOCS[2]]
    assert len(snapshot.select("year > 2000")) == 3
    with Snapshot.open(path) as newer:
        assert list(newer.all_ids()) == ["d"]


def test_a_reader_that_loses_its_files_takes_the_newer_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the manifest and opening the files, a writer commits and unlinks."""
    create(tmp_path / "i", DOCS)
    real = FileDirectory.sizes
    commits = []

    def interrupted(self: FileDirectory) -> dict[str, int]:
        if not commits:
            commits.append(1)
            with Writer.open(tmp_path / "i") as writer:
                writer.delete(["a"])
                writer.merge()
        return real(self)

    monkeypatch.setattr(FileDirectory, "sizes", interrupted)
    with Snapshot.open(tmp_path / "i") as snapshot:
        assert list(snapshot.all_ids()) == ["b", "c", "d"]


@pytest.mark.parametrize("how", ["link", "link, and the old one removed", "folder"])
def test_another_index_gets_the_name_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Between reading the manifest and opening the files; both are of the same generation."""
    for colour in ("blue", "green"):
        create(tmp_path / colour, [record(colour, "fish", colour=colour)])
    path = tmp_path / ("blue" if how == "folder" else "current")
    if how != "folder":
        path.symlink_to("blue")
    real = FileDirectory.sizes

    def interrupted(self: FileDirectory) -> dict[str, int]:
        monkeypatch.setattr(FileDirectory, "sizes", real)
        if how == "folder":
            shutil.rmtree(path)
            (tmp_path / "green").rename(path)
        else:
            path.unlink()
            path.symlink_to("green")
        if how.endswith("removed"):
            shutil.rmtree(tmp_path / "blue")
        return real(self)

    monkeypatch.setattr(FileDirectory, "sizes", interrupted)
    with Snapshot.open(path) as snapshot:
        [only] = snapshot.all_ids()
        assert only == ("blue" if how == "link" else "green")
        assert len(snapshot.select(f"colour = '{only}'")) == 1
    with Snapshot.open(path) as snapshot:
        assert list(snapshot.all_ids()) == ["green"]


def test_readers_and_a_writer_at_once(tmp_path: Path) -> None:
    """Every snapshot shows one whole commit: generation n holds the documents 0 to n - 1."""
    path = tmp_path / "i"
    create(path)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            try:
                with Snapshot.open(path) as snapshot:
                    expected = {f"d{n}" for n in range(snapshot.generation)}
                    if set(snapshot.all_ids()) != expected:
                        wrong.append(snapshot.generation)
            except SearchlibError as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with Writer.open(path) as writer:
        for n in range(25):
            document = [record(f"d{n}", "red fish")]
            writer.add(document, rows(document))
            writer.commit()
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_threads_share_a_snapshot(snapshot: Snapshot) -> None:
    expected = all_answers(snapshot)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(all_answers(snapshot))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


# --- damage


def files_of(path: Path) -> list[Path]:
    return [path / name for name in read_manifest(FileDirectory(path)).files]


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(NoIndex, match="holds no index"):
        Snapshot.open(tmp_path / "absent")


def test_missing_and_cut_files_are_named(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    for number, file in enumerate(files_of(tmp_path / "i")):
        for name, change in [
            ("missing", lambda path: path.unlink()),
            ("bytes", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ]:
            copy = tmp_path / f"{name}{number}"
            shutil.copytree(tmp_path / "i", copy)
            change(copy / file.name)
            with pytest.raises(Damaged, match=name) as caught:
                Snapshot.open(copy)
            assert str(copy / file.name) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_changed_bytes_are_found_and_never_crash(tmp_path: Path) -> None:
    """Here and there in every file: `verify` names the file, a search answers or refuses."""
    path = tmp_path / "i"
    create(path, DOCS)
    for file in files_of(path):
        good = file.read_bytes()
        for place in range(0, len(good), max(13, len(good) // 60)):
            file.write_bytes(good[:place] + bytes([good[place] ^ 0xA5]) + good[place + 1 :])
            try:
                with Snapshot.open(path) as snapshot:
                    problems = snapshot.verify()
                    assert str(file) in problems[0]
                    all_answers(snapshot)
                    found = snapshot.lookup(["a", "c"])
                    snapshot.records(found[found >= 0])
                    continue
            except Damaged as error:
                message = str(error)
            assert str(file) in message or file.name.endswith(("store", "passages"))
        file.write_bytes(good)
    with Snapshot.open(path) as snapshot:
        assert snapshot.verify() == []


def test_files_of_another_index_are_found(tmp_path: Path) -> None:
    """Right sizes, right checksums, wrong content: the structures contradict each other."""
    create(tmp_path / "i", [record("a", "x", "y"), record("b", "z")])
    create(tmp_path / "j", [record("a", "x"), record("b", "y", "z")])
    one, other = tmp_path / "i", tmp_path / "j"
    manifest = json.loads((one / MANIFEST).read_bytes())
    name = manifest["segments"][0]["parts"]["passages"]
    shutil.copy(other / name, one / name)
    theirs = json.loads((other / MANIFEST).read_bytes())
    manifest["files"][name] = theirs["files"][name]
    del manifest["checksum"]
    from indexes.manifest import _checksum

    manifest["checksum"] = _checksum(manifest)
    (one / MANIFEST).write_text(json.dumps(manifest))
    with Snapshot.open(one) as snapshot:
        assert any(f"{name}: disagrees with" in problem for problem in snapshot.verify())


# --- what a search loads

LOADS = """
import sys
from indexes.snapshot import Selection, Snapshot
from indexes.types import TermVectors
import numpy as np
with Snapshot.open(sys.argv[1]) as snapshot:
    where = snapshot.select("year > 2000")
    [top] = snapshot.search("bm25", TermVectors.of([{"fish": 1.0}]), 3, "document", where)
    snapshot.search("dense", np.ones((1, 4), np.float32), 3)
    snapshot.scores("bm25", TermVectors.of([{"fish": 1.0}]), top.ids)
    assert snapshot.records(top.ids)
print(sorted({"scipy", "faiss", "sqlite_utils", "numba", "torch"} & sys.modules.keys()))
"""


def test_a_search_loads_little(tmp_path: Path) -> None:
    create(tmp_path / "i", DOCS)
    command = [sys.executable, "-c", LOADS, str(tmp_path / "i")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_searching_and_scoring_at_once_refuses_what_searching_refuses(snapshot: Snapshot) -> None:
    ids = np.array([0])
    with pytest.raises(ValueError, match="illegal k: 0"):
        snapshot.search_and_score("bm25", query("red"), 0, ids)
    with pytest.raises(ValueError, match="ranks documents, not passages"):
        snapshot.search_and_score("bm25", query("red"), 1, ids, unit="passage")
    other = Selection((np.ones(99, np.bool_),))
    with pytest.raises(ValueError, match="another snapshot"):
        snapshot.search_and_score("bm25", query("red"), 1, ids, where=other)
