"""A BEIR folder: its queries, its judgements, and what is said when a part is missing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from searchlib.errors import BadInput, NotFound
from searchlib.evaluation import Collection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    beir = tmp_path / "tiny"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text('{"_id": "d1", "title": "", "text": "snow"}\n')
    (beir / "queries.jsonl").write_text(
        '{"_id": "q2", "text": "ice"}\n{"_id": "q1", "text": "rain"}\n'
        '{"_id": "q0", "text": "fog"}\n'
    )
    for split, query in (("test", "q1"), ("train", "q2")):
        (beir / "qrels" / f"{split}.tsv").write_text(
            f"query-id\tcorpus-id\tscore\n{query}\td1\t1\n"
        )
    return beir


def test_only_judged_queries_are_topics(folder: Path) -> None:
    tiny = Collection(folder)
    assert tiny.name == "tiny"
    assert tiny.splits() == ("test", "train")
    assert tiny.topics() == {"q1": "rain"}
    assert tiny.topics("train") == {"q2": "ice"}
    assert list(tiny.queries()) == ["q2", "q1", "q0"]
    assert tiny.qrels() == {"q1": {"d1": 1}}
    assert tiny.corpus.name == "corpus.jsonl"


def test_the_split_is_test_then_dev_then_the_only_one(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert Collection(folder).split() == "dev"
    (folder / "qrels" / "dev.tsv").unlink()
    assert Collection(folder).split() == "train"
    with pytest.raises(NotFound, match=r"no split 'test'; it has train"):
        Collection(folder).qrels("test")


def test_packed_files_serve_too(folder: Path) -> None:
    plain = folder / "queries.jsonl"
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert Collection(folder).topics() == {"q1": "rain"}


def test_a_missing_part_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        Collection(folder / "nowhere")
    with pytest.raises(NotFound, match=r"no queries\.jsonl"):
        Collection(folder.parent)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td1\t1\n")
    with pytest.raises(BadInput, match=r"1 judged queries are not in queries\.jsonl .*'q9'"):
        Collection(folder).topics()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    with pytest.raises(BadInput, match="no judgements in it"):
        Collection(folder).qrels()


def written(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_folders_of_parquet_are_a_collection(tmp_path: Path) -> None:
    part = "-0000{}-of-00002.parquet"
    written(tmp_path / "corpus" / ("corpus" + part.format(0)), [{"_id": "d1", "text": "snow"}])
    for i in range(2):
        name = part.format(i)
        written(tmp_path / "queries" / f"queries{name}", [{"_id": f"q{i}", "text": f"ice {i}"}])
        judged = {"query-id": "q0", "corpus-id": f"d{i}", "score": 1.0 + i}
        written(tmp_path / "qrels" / f"test{name}", [judged])
    parted = Collection(tmp_path)
    assert parted.splits() == ("test",)
    assert parted.queries() == {"q0": "ice 0", "q1": "ice 1"}
    assert parted.topics() == {"q0": "ice 0"}
    assert parted.qrels() == {"q0": {"d0": 1, "d1": 2}}
    assert parted.corpus == tmp_path / "corpus"


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_judgements_with_names_are_read_unless_there_are_columns(folder: Path, ending: str) -> None:
    rows = {"jsonl": '{"query-id": "q2", "corpus-id": "d1", "score": 1}\n'}
    rows["csv"] = "query-id,corpus-id,score\nq2,d1,1\n"
    for split in ("dev", "test"):
        (folder / "qrels" / f"{split}.{ending}").write_text(rows[ending])
    named = Collection(folder)
    assert named.splits() == ("dev", "test", "train")
    assert named.qrels("dev") == {"q2": {"d1": 1}}
    assert named.qrels("test") == {"q1": {"d1": 1}}
