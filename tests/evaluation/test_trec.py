"""Runs and judgements: what is written is read back; what is wrong is named by line."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchlib.errors import BadInput, NotFound
from searchlib.evaluation import read_qrels, read_run, write_qrels, write_run

column = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r\v\f\ufeff"), min_size=1
)
score = st.floats(allow_nan=False, allow_infinity=False)


def saved(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@given(st.dictionaries(column, st.dictionaries(column, score, min_size=1), max_size=4))
def test_a_run_survives_the_round_trip(
    run: dict[str, dict[str, float]],
) -> None:
    out = io.StringIO()
    write_run(run, out)
    with tempfile.TemporaryDirectory() as folder:
        assert read_run(saved(Path(folder) / "a.run", out.getvalue())) == run


@given(st.dictionaries(column, st.dictionaries(column, st.integers(-2, 5), min_size=1)))
def test_qrels_survive_the_round_trip(
    qrels: dict[str, dict[str, int]],
) -> None:
    out = io.StringIO()
    write_qrels(qrels, out)
    with tempfile.TemporaryDirectory() as folder:
        assert read_qrels(saved(Path(folder) / "a.qrels", out.getvalue())) == qrels


def test_a_run_is_written_best_first_and_ties_keep_their_order() -> None:
    out = io.StringIO()
    write_run({"q": {"low": 1.0, "z": 2.5, "a": 2.5}}, out, tag="mine")
    assert out.getvalue() == ("q Q0 z 1 2.5 mine\nq Q0 a 2 2.5 mine\nq Q0 low 3 1.0 mine\n")


@pytest.mark.parametrize("id", ["two words", "", "tab\there", "line\n"])
def test_an_id_that_columns_cannot_carry_is_refused(id: str) -> None:
    with pytest.raises(BadInput, match="white space"):
        write_run({"q": {id: 1.0}}, io.StringIO())
    with pytest.raises(BadInput, match="white space"):
        write_qrels({id: {"d": 1}}, io.StringIO())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 d9 1 0.5", "5 columns; a run has 6"),
        ("q1 Q0 d9 1 high tag", "score 'high' is not a finite number"),
        ("q1 Q0 d9 1 nan tag", "score 'nan' is not a finite number"),
        ("q1 Q0 d1 2 0.5 tag", "document 'd1' stands twice for query 'q1'"),
        (b"q1 Q0 d\xff 2 0.5 tag", "invalid UTF-8"),
    ],
)
def test_a_bad_run_line_is_named(tmp_path: Path, line: str | bytes, reason: str) -> None:
    bad = line if isinstance(line, bytes) else line.encode()
    path = saved(tmp_path / "bad.run", b"q1 Q0 d1 1 2.0 tag\n\n" + bad + b"\n")
    with pytest.raises(BadInput) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}:3: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 d9", "2 columns; judgements have 4"),
        ("q1\td9\tvery", "relevance 'very' is not an integer"),
        ("q1\td9\t1_0", "relevance '1_0' is not an integer"),
        ("q1\td9\t\u0663", "relevance '\u0663' is not an integer"),
        ("q1\td9\t1048577", "relevance 1048577, must be from -1048576 to 1048576"),
        ("q1\td9\t9223372036854775808", "relevance 9223372036854775808, must be from"),
        ("q1\td9\t" + "9" * 9999, f"relevance {'9' * 30}, must be from"),
        ("q1\t\t1", "empty document id"),
        ("\td9\t1", "empty query id"),
        ("q1\td1\t0", "document 'd1' is judged 1 and 0 for query 'q1'"),
    ],
)
def test_a_bad_judgement_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = saved(tmp_path / "bad.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n" + line)
    with pytest.raises(BadInput) as caught:
        read_qrels(path)
    assert str(caught.value).startswith(f"{path}:3: {reason}")


def test_trec_and_beir_judgements_are_told_apart(tmp_path: Path) -> None:
    trec = saved(tmp_path / "trec", "q1 0 d1 2\nq1\t0\td2\t0\nq2 0 d1 -1\r\n")
    beir = saved(tmp_path / "beir", "query-id\tcorpus-id\tscore\nq1\tmy file.txt\t2\n")
    bare = saved(tmp_path / "bare", "\ufeffq1\td1\t1\n")
    large = saved(tmp_path / "large", "q1\td1\t+1048576\nq1\td2\t-1048576\n")
    assert read_qrels(large) == {"q1": {"d1": 1 << 20, "d2": -1 << 20}}
    assert read_qrels(trec) == {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}
    assert read_qrels(beir) == {"q1": {"my file.txt": 2}}
    assert read_qrels(bare) == {"q1": {"d1": 1}}


JUDGED = '{"query-id": "q1", "corpus-id": "my file", "score": 2}\n'


@pytest.mark.parametrize(
    "text",
    [
        JUDGED,
        '{"qid": "q1", "docid": "my file", "relevance": 2.0}\n',
        "query-id,corpus-id,score\nq1,my file,2\n",
        '\ufeffscore,Corpus-ID,query_id\n2,"my file",q1\n',
    ],
)
def test_judgements_with_names_are_read(tmp_path: Path, text: str) -> None:
    assert read_qrels(saved(tmp_path / "named", text)) == {"q1": {"my file": 2}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (JUDGED + "oops", ":2: not JSON"),
        (JUDGED + '{"query-id": "q1"}', ':2: no "query-id", "corpus-id" or "score"'),
        ("query-id,corpus-id,score\nq1,d1\n", ":2: 2 columns, the first line has 3"),
        ('query-id,corpus-id,score\nq1,"d1"x,1\n', ":2: not CSV"),
        ("PAR1\x15 but no more", ": not readable as Parquet"),
        ("q1 0 d1 1".encode("utf-16"), ": UTF-16 text, which is not read"),
    ],
)
def test_bad_judgements_with_names_are_named(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = saved(tmp_path / "named", text)
    with pytest.raises(BadInput) as caught:
        read_qrels(path)
    assert str(caught.value).startswith(f"{path}{reason}")


def test_packed_files_are_unpacked_and_broken_ones_named(tmp_path: Path) -> None:
    packed = saved(tmp_path / "a.run.gz", gzip.compress(b"q Q0 d 1 1.5 t\n"))
    assert read_run(packed) == {"q": {"d": 1.5}}
    broken = saved(tmp_path / "b.run.gz", b"not gzip at all")
    with pytest.raises(BadInput, match=r"b\.run\.gz"):
        read_run(broken)
    with pytest.raises(NotFound, match="no such file"):
        read_run(tmp_path / "absent")
    with pytest.raises(BadInput, match="is a folder"):
        read_run(tmp_path)
