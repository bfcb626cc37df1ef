"""Tables: CSV, TSV, MS MARCO's files, Parquet."""

from __future__ import annotations

import datetime
import time
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from searchlib.errors import BadInput
from searchlib.formats import BadLine, ReadOptions, count_hint, read_documents
from searchlib.types import Document


@pytest.fixture
def table(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(path: Path, **options: object) -> list[Document]:
    return [document for document, _ in read_documents(path, ReadOptions(**options))]


def refused(path: Path, **options: object) -> str:
    with pytest.raises(BadInput) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}:").removeprefix(str(path))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_with_quotes_and_typed_metadata(table, separator):
    rows = [
        ["id", "title", "text", "year", "weight", "wet", "code", "note"],
        ["1", "Eel", '"Long, ""thin"";\nand | wet"', "2001", "-2.5", "TRUE", "007", ""],
        ["2", "", "Crab", "", "1e5", "false", "x", "yes"],
    ]
    path = table("fish.csv", "\r\n".join(separator.join(row) for row in rows))
    assert read(path) == [
        Document(
            "1",
            'Long, "thin";\nand | wet',
            "Eel",
            {"year": 2001, "weight": -2.5, "wet": True, "code": "007"},
        ),
        Document("2", "Crab", "", {"weight": "1e5", "wet": False, "code": "x", "note": "yes"}),
    ]
    origins = [origin for _, origin in read_documents(path)]
    assert origins == [f"{path}:2", f"{path}:4"]


def test_csv_options_name_columns(table):
    path = table("a.csv", "nr,head,one,two,year\nn1,H,a,b,1999\n")
    assert read(path, id="nr", title="head", text=("one", "two")) == [
        Document("n1", "a\nb", "H", {"year": 1999})
    ]
    assert refused(path, text=("three",)) == (
        "1: no column 'three'; there is: 'nr', 'head', 'one', 'two', 'year'"
    )
    assert refused(path, text=("one",), metadata=("yr",)).startswith("1: no column 'yr'")
    assert refused(path) == (
        "1: no text among the columns: 'nr', 'head', 'one', 'two', 'year'; say which is (--text)"
    )


def test_csv_of_one_column_is_text(table):
    assert read(table("quotes.csv", "quote\nAll fish.\n")) == [
        Document("quotes.csv:2", "All fish.")
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"b,crab,extra", "3: 3 fields, the first line has 2"),
        (b"b", "3: 1 fields, the first line has 2"),
        (b"b,caf\xe9", "3: not UTF-8: byte 0xe9 at byte 6; convert it, or name its encoding"),
        (b"b," + b"x" * 300, "3: longer than 200 bytes"),
        (b'b,"cr"ab', "3: not CSV: ',' expected after '\"'"),
    ],
)
def test_bad_rows(table, row, reason):
    path = table("a.csv", b"id,text\na,eel\n" + row + b"\nc,squid\n")
    assert refused(path, max_document_bytes=200) == reason
    bad: list[BadLine] = []
    documents = read(path, max_document_bytes=200, skip_bad=True, on_bad=bad.append)
    assert [document.id for document in documents] == ["a", "c"]
    assert [line.line for line in bad] == [3]


def test_a_quote_without_end_is_said_and_does_not_eat_the_file_in_silence(table):
    path = table("a.csv", 'id,text\na,"eel\n' + "b,crab\n" * 50)
    assert refused(path).startswith("2: not CSV: unexpected end of data")


def rows_with(changed: dict[int, str], width: int = 3) -> str:
    """A table of 1,000 rows, row n on line n + 1, some of them changed."""
    header = ["id", *["tag"] * (width > 2), "text"]
    rows = [
        changed.get(n, ",".join([str(n), *["x"] * (width > 2), f"eel {n}"])) for n in range(1, 1001)
    ]
    return "\n".join([",".join(header), *rows]) + "\n"


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({10: '10,{}"eel'}, "not CSV: unexpected end of data"),
        ({10: '10,{}"eel', 900: '900,{}a "crab" here'}, "not CSV: ',' expected after '\"'"),
        ({10: '10,{}"eel', 900: '900,{}eel"'}, "a quoted field of 891 lines that look like rows"),
    ],
)
def test_a_stray_quote_swallows_no_rows(table, changed, reason, width):
    changed = {n: row.format("x," * (width - 2)) for n, row in changed.items()}
    path = table("a.csv", rows_with(changed, width))
    assert refused(path) == f"11: {reason}; is there a quote too many?"
    bad: list[BadLine] = []
    documents = read(path, skip_bad=True, on_bad=bad.append)
    assert [int(document.id) for document in documents] == [n for n in range(1, 1001) if n != 10]
    assert [line.line for line in bad] == [11]
    origins = [origin for _, origin in read_documents(path, ReadOptions(skip_bad=True))]
    assert origins[9] == f"{path}:12"


LONG = [
    "The eel, long and thin, swims.\nIt walks, too.\n" * 40,
    "Salt, a pinch\nButter, melted\n" * 30,
    "Eels\n" + "Doe, Jane\n" * 30,
    "a,b\n1,2\n" * 30,  # a table within
    "x\n" * 500,
]


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("header", ["id,text", "id,year,text", "id,text,year"])
def test_texts_of_many_lines_stay_whole(table, text, header):
    values = {"id": "a", "year": "1999", "text": f'"{text}"'}
    row = ",".join(values[name] for name in header.split(","))
    path = table("a.csv", f"{header}\n{row}\n")
    assert [document.text for document in read(path)] == [text]


def test_a_text_of_many_lines_that_breaks_off_is_skipped_whole(table):
    verse = "The eel, long and thin,\nswims.\n" * 20
    path = table("a.csv", f'id,text\na,"{verse}so "it" ends"\nb,crab\n')
    bad: list[BadLine] = []
    assert [document.id for document in read(path, skip_bad=True, on_bad=bad.append)] == ["b"]
    assert [str(line).removeprefix(f"{path}:") for line in bad] == [
        "2: not CSV: ',' expected after '\"', lines 2-42; is there a quote too many?"
    ]


def test_rows_are_not_read_again_without_end(table):
    hostile = ['x","' if n % 12 == 0 else f"{n},eel" for n in range(30_000)]
    path = table("a.csv", "id,text\n" + "\n".join(hostile) + "\n")
    bad: list[BadLine] = []
    started = time.monotonic()
    documents = read(path, skip_bad=True, on_bad=bad.append)
    assert time.monotonic() - started < 20
    assert documents
    assert "lines " in str(bad[-1])


def test_columns_without_a_name_keep_their_values(table):
    path = table("a.csv", "id,text,,\n1,hallo,x,y\n2,so,,7\n")
    assert [document.metadata for document in read(path)] == [
        {"column_3": "x", "column_4": "y"},
        {"column_4": 7},
    ]
    path = table("b.csv", ",text\n0,eel\n1,crab\n")
    assert [document.metadata for document in read(path)] == [{"column_1": 0}, {"column_1": 1}]


def test_numbers_with_commas_between_semicolons(table):
    rows = "id;text;price;day;stock\n1;eel;1,50;24.12.2023;1.000\n2;crab;1.234,5;;999\n"
    assert [document.metadata for document in read(table("a.csv", rows))] == [
        {"price": 1.5, "day": "24.12.2023", "stock": "1.000"},
        {"price": 1234.5, "stock": 999},
    ]
    path = table("b.csv", 'id,text,price,stock\n1,eel,"1,50",1.000\n')
    assert read(path)[0].metadata == {"price": "1,50", "stock": 1.0}


@pytest.mark.parametrize("blank", ["\n", "  \n\n", "\r\n", "\ufeff\n"])
def test_blank_lines_before_the_header(table, blank):
    path = table("a.csv", f"{blank}id;text\n1;eel\n")
    [(document, origin)] = read_documents(path)
    assert document == Document("1", "eel")
    assert origin == f"{path}:{blank.count(chr(10)) + 2}"


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_end_as_any_system_ends_them(table, end):
    path = table("a.csv", end.join(["id,text", 'a,"eel', 'long"', "b", "c,crab", ""]))
    assert refused(path) == "4: 1 fields, the first line has 2"
    documents = list(read_documents(path, ReadOptions(skip_bad=True)))
    assert documents == [
        (Document("a", "eel\nlong"), f"{path}:2"),
        (Document("c", "crab"), f"{path}:5"),
    ]


def test_tsv_keeps_quotes_unless_a_field_is_quoted_as_in_csv(table):
    rows = '1\t"Aaron ( or ; ""Aharon"") is"\tAaron\n2\t"A" and "B"\t""\n3\t"\t"x\n'
    assert read(table("psgs.tsv", "id\ttext\ttitle\n" + rows)) == [
        Document("1", 'Aaron ( or ; "Aharon") is', "Aaron"),
        Document("2", '"A" and "B"'),
        Document("3", '"', '"x'),
    ]


def test_tsv_with_header_is_not_quoted(table):
    path = table("a.tsv", 'id\ttext\tyear\na\tHe said "x\t1999\r\n')
    assert read(path) == [Document("a", 'He said "x', metadata={"year": 1999})]


@pytest.mark.parametrize(
    ("line", "document"),
    [
        ("7\tSome passage", Document("7", "Some passage")),
        ("D1\tEel\tA long fish", Document("D1", "A long fish", "Eel")),
        ("D1\thttp://x\tEel\tLong", Document("D1", "Long", "Eel", {"url": "http://x"})),
    ],
)
@pytest.mark.parametrize("format", [None, "msmarco"])
def test_ms_marco(table, line, document, format):
    path = table("collection.tsv", line + "\n" + line.replace("7", "8").replace("D1", "D2") + "\n")
    first, second = read(path, format=format)
    assert first == document
    assert (second.text, second.id != first.id) == (first.text, True)


def test_ms_marco_bad_lines(table):
    path = table("collection.tsv", "1\tone\njust text\n3\tthree\n")
    assert refused(path) == "2: 1 fields between tabs, must be 2 to 4 if nothing names them"
    assert [d.id for d in read(path, skip_bad=True)] == ["1", "3"]


def test_parquet(tmp_path):
    path = tmp_path / "fish.parquet"
    table = pyarrow.table(
        {
            "id": [1, 2, None],
            "text": ["Eel", None, "Crab"],
            "day": [datetime.date(2001, 2, 3)] * 3,
            "price": [Decimal("1.50"), Decimal("2.00"), None],
            "tags": [["a", "b"], [], None],
            "score": [float("nan"), 0.5, 1.0],
            "place": [{"lat": 1.0}] * 3,
        }
    )
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    documents = read(path)
    assert [(d.id, d.text) for d in documents] == [
        ("1", "Eel"), ("2", ""), ("fish.parquet:3", "Crab"),
    ]  # fmt: skip
    assert documents[0].metadata == {
        "day": "2001-02-03",
        "price": 1.5,
        "tags": ["a", "b"],
        "score": None,
        "place": {"lat": 1.0},
    }
    assert count_hint(path) == 3
    assert read(path, metadata=("day",))[0].metadata == {"day": "2001-02-03"}
    assert refused(path, text=("body",)).startswith(" no field 'body' for the text; there is: 'id'")


def test_parquet_that_is_none(table, tmp_path):
    assert refused(table("a.parquet", b"PAR1 and so on")).startswith(" not readable as Parquet")
    import gzip

    path = table("b.parquet.gz", gzip.compress(b"PAR1"))
    assert "uncompressed file only" in refused(path)


def test_columns_of_one_name_are_refused(table):
    path = table("twice.csv", "id,text,tag,text,tag,,\n1,a,b,c,d,,\n")
    assert refused(path) == "1: columns of one name: 'tag', 'text'"
    assert read(table("blank.csv", "id,text,,\n1,a,,\n"))[0].text == "a"
