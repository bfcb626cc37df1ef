"""Queries are read from each layout; a bad one is named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchlib.errors import BadInput
from searchlib.evaluation import read_topics

TAGGED = """<top>
<num> Number: 301
<title> Topic: Bread and salt
<desc> Description:
Not part of the query.
</top>
<top><num>302</num>
<title>
Rivers that
freeze
</title></top>
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"_id": "a", "text": "one"}\n\n{"id": 7, "query": "two"}\n', {"a": "one", "7": "two"}),
        ("12\thow deep is it\n13\tx\ty\n", {"12": "how deep is it", "13": "x\ty"}),
        (TAGGED, {"301": "Bread and salt", "302": "Rivers that freeze"}),
        (
            "<top><num>1</num><title> p < 0.05 significance and x > 3, AT&amp;T </title></top>",
            {"1": "p < 0.05 significance and x > 3, AT&T"},
        ),
        (
            '<topics><topic number="7" type="x"><query>where from</query>\n'
            "<question>not this</question></topic></topics>",
            {"7": "where from"},
        ),
        ("<top><identifier>10-A</identifier><title>ships</title></top>", {"10-A": "ships"}),
        ("qid\ttext\n1\tid text\n", {"1": "id text"}),
        ('{"_id": " q0 ", "text": "x"}\n', {"q0": "x"}),
        ('{"qid": 3, "query": "x"}\n{"query-id": "4", "query_text": "y"}', {"3": "x", "4": "y"}),
        ("query-id\tquery text\n1\tquery text\n", {"1": "query text"}),
        (
            "<top>\n<num> Number: 9\n<title> what is a std::vector<int> in <b>c</b>\n"
            "<smry> not this\n</top>",
            {"9": "what is a std::vector<int> in <b>c</b>"},
        ),
        (
            "<top><num>\n4\n</num><title><![CDATA[a &lt;b> & c]]> d &amp; e</title></top>",
            {"4": "a &lt;b> & c d & e"},
        ),
        (
            '<topics task="ct">\n<topic number="1">\nA man of 58,\nwith pain\n</topic>\n'
            '<topic number="2">A woman</topic></topics>',
            {"1": "A man of 58, with pain", "2": "A woman"},
        ),
        (
            "<top>\n<num> Number: 5\n<desc> Description:\nOf rain\n<narr> Any\n</top>",
            {"5": "Of rain"},
        ),
        ("<num>1<title>one<desc>x\n<num>2<title>two", {"1": "one", "2": "two"}),
    ],
)
def test_each_layout_is_read(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    path = tmp_path / "queries"
    path.write_text(text)
    assert read_topics(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"_id": "a", "text": "x"}\n{oops\n', ":2: not JSON"),
        ('{"_id": "a", "text": "x"}\n[1]\n', ":2: not a JSON object"),
        ('{"_id": "a"}\n', ':1: no "_id" or no "text"'),
        ('{"_id": true, "text": "x"}\n', ':1: no "_id" or no "text"'),
        ('{"_id": "a", "text": " "}\n', ":1: query 'a' has no text"),
        ('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', ":2: query id 'a' stands twice"),
        ("a x\n", ":1: no tab"),
        ("<top>\n<title> lost\n</top>\n", ":2: <title> before any <num>"),
        (
            "<top><num>1</num><title>a</title></top>\n<top><num>2</num><desc>b</desc></top>",
            ":2: query '2' has no <title>; 1 of 2 topics have none",
        ),
        ('<topic number="1"></topic>', ":1: query '1' has no <title>"),
        ("\n\n", ": no queries in it"),
        ("", ": no queries in it"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "queries"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_topics(path)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_packed_files_are_read_and_damage_is_said(tmp_path: Path, suffix: str) -> None:
    import bz2
    import gzip
    import lzma

    import zstandard

    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = b"".join(b"%d\thow deep is it %d\n" % (i, i * i) for i in range(3000))
    packed = pack.get(suffix, zstandard.ZstdCompressor().compress)(content)
    path = tmp_path / f"queries.tsv{suffix}"
    path.write_bytes(packed)
    assert len(read_topics(path)) == 3000
    middle = len(packed) // 2
    for damaged in (packed[:middle], packed[:middle] + b"damaged" + packed[middle + 7 :]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="queries"):
            read_topics(path)
