"""Each command's happy way: what it prints when piped, and that it does what it says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from commandline import NOTES, WORDS_ONLY, Run, write_jsonl

HIT_KEYS = ["rank", "id", "score", "title", "snippet", "document", "passage", "start", "end",
            "metadata"]  # fmt: skip


def test_index_reports_what_it_did_and_goes_on_when_run_again(cli: Run, folder: Path) -> None:
    (first,) = cli("index", "n.index", "notes.jsonl", *WORDS_ONLY).lines
    assert (first["added"], first["updated"], first["unchanged"]) == (4, 0, 0)
    (again,) = cli("index", "n.index", "notes.jsonl").lines
    assert (again["added"], again["updated"], again["unchanged"]) == (0, 0, 4)


def test_add_updates_and_adds(cli: Run, notes: Path) -> None:
    (report,) = cli("add", notes, "more.jsonl").lines
    assert (report["added"], report["updated"], report["skipped"]) == (1, 1, 0)
    (info,) = cli("info", notes).lines
    assert info["documents"] == 5
    assert cli("search", notes, "oven").lines == []  # the old text of note-2 is gone


def test_delete(cli: Run, notes: Path) -> None:
    assert cli("delete", notes, "note-1", "note-2").lines == [{"deleted": 2}]
    assert [hit["id"] for hit in cli("search", notes, "leaves bread dough").lines] == ["note-4"]
    assert cli("delete", notes, "-", stdin="note-3\nnote-4\n").lines == [{"deleted": 2}]
    assert cli("search", notes, "leaves").lines == []


def test_search_prints_json_lines_with_these_keys(cli: Run, notes: Path) -> None:
    hits = cli("search", notes, "how do plants eat", "-k", "2").lines
    assert [list(hit) for hit in hits] == [HIT_KEYS, HIT_KEYS]
    first = hits[0]
    assert (first["rank"], first["id"], first["title"]) == (1, "note-1", "Leaves")
    assert first["metadata"] == {"year": 2003, "lang": "en", "tags": ["biology", "light"]}
    assert "**Plants** **eat**" in first["snippet"]
    assert NOTES[0]["text"][first["start"] : first["end"]] == NOTES[0]["text"]
    assert hits[0]["score"] > hits[1]["score"]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("year >= 2003", {"note-1", "note-3"}),
        ('lang in ("fr", "de")', {"note-3"}),
        ("tags = 'biology' and not year < 2002", {"note-1"}),
    ],
)
def test_where(cli: Run, notes: Path, where: str, ids: set[str]) -> None:
    hits = cli("search", notes, "water leaves sunlight", "--where", where).lines
    assert {hit["id"] for hit in hits} == ids


@pytest.mark.parametrize("command", [("search", "water leaves sunlight"), ("browse",)])
def test_where_twice_is_both(cli: Run, notes: Path, command: tuple[str, ...]) -> None:
    """The last one alone would be a filter that the user did not ask for."""
    name, *rest = command
    either = "year = 2003 or lang = 'fr'"
    lines = cli(name, notes, *rest, "--where", "year < 2010", "--where", either).lines
    both = cli(name, notes, *rest, "--where", f"year < 2010 and ({either})").lines
    assert lines == both != cli(name, notes, *rest, "--where", either).lines


def test_passages_are_named_document_and_number(cli: Run, notes: Path) -> None:
    hit = cli("search", notes, "moon", "--passages", "-r", "bm25").lines[0]
    assert (hit["id"], hit["document"], hit["passage"]) == ("note-3#0", "note-3", 0)


def test_explanations_add_up_to_the_score(cli: Run, notes: Path) -> None:
    for hit in cli("search", notes, "water leaves", "--explain").lines:
        tree = hit["explanation"]
        assert tree["value"] == pytest.approx(hit["score"], abs=1e-5)
        assert tree["parts"]
        (alone,) = cli("explain", notes, "water leaves", hit["id"]).lines
        assert alone["explanation"]["value"] == pytest.approx(hit["score"], abs=1e-5)


def test_a_passage_is_explained_beside_a_document_of_its_name(cli: Run, folder: Path) -> None:
    texts = {"7": "moon and river", "7#0": "the moon, the moon, the moon and nothing else"}
    write_jsonl(folder / "both.jsonl", *({"id": id, "text": texts[id]} for id in texts))
    assert cli("index", "both.index", "both.jsonl", *WORDS_ONLY).code == 0
    for options in ((), ("--passages",)):
        asked = ("both.index", "moon")
        scores = {hit["id"]: hit["score"] for hit in cli("search", *asked, *options).lines}
        assert len(scores) == 2
        for id, score in scores.items():
            (told,) = cli("explain", *asked, id, *options).lines
            assert told["explanation"]["value"] == pytest.approx(score, abs=1e-5)
    result = cli("explain", "both.index", "moon", "7#0#1", "--passages")
    assert "has passages #0 to #0, not #1" in result.err
    result = cli("explain", "both.index", "moon", "7", "--passages")
    assert result.code == 1
    assert "no passage '7' in the index: it is a document; write '7#0'" in result.err


def test_trec_format(cli: Run, notes: Path) -> None:
    line = cli("search", notes, "moon", "-r", "bm25", "--format", "trec").out.split()
    assert line[:4] == ["1", "Q0", "note-3", "1"]
    assert (float(line[4]) > 0, line[5]) == (True, "bm25")


def test_queries_from_stdin_one_a_line(cli: Run, notes: Path) -> None:
    for arguments in (("search", notes), ("search", notes, "-")):
        lines = cli(*arguments, "-k", "1", stdin="moon\n\nbread dough\n").lines
        assert [(x["query"], x["id"]) for x in lines] == [
            ("moon", "note-3"),
            ("bread dough", "note-2"),
        ]


def test_run_writes_a_trec_run(cli: Run, notes: Path, folder: Path) -> None:
    result = cli("run", notes, "collection/queries.jsonl", "-r", "bm25", "-k", "2", "--tag", "mine")
    rows = [line.split() for line in result.out.splitlines()]
    assert {len(row) for row in rows} == {6}
    assert next(row[:4] for row in rows if row[0] == "q2") == ["q2", "Q0", "note-2", "1"]
    assert {row[5] for row in rows} == {"mine"}
    cli("run", notes, "collection/queries.jsonl", "-r", "bm25", "-k", "2", "--tag", "mine",
        "--output", "mine.run")  # fmt: skip
    assert (folder / "mine.run").read_text() == result.out
    as_json = cli("run", notes, "-", "-r", "bm25", "--format", "json", stdin="q9\tmoon\n").lines
    assert [list(as_json[0]), as_json[0]["query"], as_json[0]["id"]] == [
        ["query", "rank", "id", "score"], "q9", "note-3",
    ]  # fmt: skip


def test_eval_judges_every_retriever(cli: Run, notes: Path) -> None:
    lines = cli("eval", notes, "collection", "--measures", "nDCG@10,R@100", "-r", "all").lines
    assert [list(line) for line in lines] == [["retriever", "measure", "value", "queries"]] * 6
    assert [(x["retriever"], x["measure"]) for x in lines] == [
        (retriever, measure)
        for retriever in ("bm25", "bm25_passage", "hybrid")
        for measure in ("nDCG@10", "R@100")
    ]
    assert {line["queries"] for line in lines} == {2}
    assert lines[0]["value"] == pytest.approx(1.0)
    some = cli("eval", notes, "collection", "-r", "hybrid,bm25", "-r", "bm25_passage").lines
    assert {line["retriever"] for line in some} == {"bm25", "bm25_passage", "hybrid"}
    everything = cli("eval", notes, "collection", "-r", "bm25", "-r", "all").lines
    assert everything == cli("eval", notes, "collection", "-r", "all").lines
    assert len(everything) == 6


def test_eval_with_files_of_ones_own_and_per_query(cli: Run, notes: Path) -> None:
    files = ("--queries", "collection/queries.jsonl", "--qrels", "collection/qrels/test.tsv")
    lines = cli("eval", notes, *files, "--measures", "RR", "-r", "bm25", "--per-query").lines
    assert [(x["query"], x["value"]) for x in lines] == [("q1", 1.0), ("q2", 1.0)]


def test_judged_queries_without_text_are_counted(cli: Run, notes: Path) -> None:
    """TREC's topics have numbers of three digits, its judgements often none of the zeros."""
    Path("topics").write_text("<num> Number: 051\n<title> bread\n<num> Number: 2\n<title> moon\n")
    Path("q.qrels").write_text("51 0 note-2 1\n002 0 note-3 1\n2 0 note-3 1\n60 0 note-1 1\n")
    result = cli("eval", notes, "--queries", "topics", "--qrels", "q.qrels", "--measures", "RR")
    assert [(line["value"], line["queries"]) for line in result.lines] == [(1.0, 2)]
    left_out = "2 of 4 judged queries have no text in QUERIES and are left out"
    assert result.error == f"searchlib: {left_out}"
    assert left_out in cli("tune", notes, "--queries", "topics", "--qrels", "q.qrels").err


@pytest.mark.parametrize("command", ["eval", "tune"])
def test_judgements_given_twice_are_refused(cli: Run, notes: Path, command: str) -> None:
    qrels = ("--qrels", "collection/qrels/test.tsv")
    queries = ("--queries", "collection/queries.jsonl")
    for given, said in (
        (("collection", *qrels), "give a BEIR folder or --qrels, not both"),
        (("collection", *queries), "give a BEIR folder or --queries, not both"),
        ((*queries, *qrels, "--split", "dev"), "--split is of a BEIR folder"),
    ):
        result = cli(command, notes, *given)
        assert (result.code, said in result.err) == (2, True)


def test_a_run_that_cannot_be_written_is_refused_before_the_work(
    cli: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from searchlib.evaluation import measuring

    monkeypatch.setattr(measuring, "run_of", None)  # no answer is made a run
    for arguments, query in ((("--tag", "my run"), "q1"), ((), "q 1")):
        result = cli("run", notes, "-", *arguments, stdin=f"{query}\tmoon\n")
        assert (result.code, "holds white space" in result.error) == (1, True)


def test_filters_that_let_nothing_through_are_said(cli: Run, notes: Path) -> None:
    unknown = "no document has the field 'yaer'; did you mean 'year'?"
    result = cli("run", notes, "collection/queries.jsonl", "--where", "yaer > 2000")
    assert (result.code, result.error) == (0, f"searchlib: {unknown}")
    result = cli("eval", notes, "collection", "--where", "yaer > 2000")
    assert (result.code, result.out, unknown in result.err) == (1, "", True)
    nothing = cli("eval", notes, "collection", "--where", "year > 3000")
    assert "no document of" in nothing.error
    assert "fits 'year > 3000': nothing to measure" in nothing.error
    assert cli("eval", notes, "collection", "--where", "year > 2000").err == ""


def test_a_document_that_is_judged_relevant_to_itself_is_an_answer(cli: Run, notes: Path) -> None:
    Path("q.tsv").write_text("note-2\tbread\nq\tthe moon\n")
    for relevance, value in ((1, 1.0), (0, 0.0)):
        qrels = Path(f"{relevance}.qrels")
        qrels.write_text(f"note-2 0 note-2 {relevance}\nnote-2 0 note-3 1\n")
        asked = ("--queries", "q.tsv", "--qrels", qrels, "--measures", "RR", "--record")
        assert cli("eval", notes, *asked).lines[0]["value"] == value
        assert cli("verify", notes, "--reproduce").code == 0
    run = cli("run", notes, "q.tsv")
    assert run.error == (
        "searchlib: queries that are documents, which are left out of their answers: 1"
    )
    assert "note-2 Q0 note-2" not in run.out
    passages = cli("run", notes, "q.tsv", "--passages")
    assert (passages.err, "note-2 Q0 note-2#0" in passages.out) == ("", True)


def test_compare(cli: Run, folder: Path) -> None:
    Path("a.run").write_text("q1 Q0 note-1 1 2 a\nq2 Q0 note-2 1 2 a\n")
    Path("b.run").write_text("q1 Q0 note-1 1 2 b\nq2 Q0 note-3 1 2 b\n")
    (line,) = cli(
        "compare", "a.run", "b.run", "--qrels", "collection/qrels/test.tsv", "--measures", "RR"
    ).lines
    assert (line["measure"], line["a"], line["b"], line["difference"]) == ("RR", 1.0, 0.5, 0.5)
    assert (line["wins"], line["losses"], line["ties"], line["queries"]) == (1, 0, 1, 2)
    assert line["low"] <= 0.5 <= line["high"]


def test_compare_refuses_what_does_not_fit_and_says_what_is_lacking(cli: Run, folder: Path) -> None:
    Path("a.run").write_text("q1 Q0 note-1 1 2 a\nq1 Q0 x 2 1 a\nq2 Q0 note-2 1 2 a\n")
    Path("b.run").write_text("q1 Q0 note-1 1 2 b\nq1 Q0 x 2 1 b\n")
    Path("other.run").write_text("7 Q0 note-1 1 2 b\n")
    Path("empty.run").write_text("")
    judged = ("--qrels", "collection/qrels/test.tsv", "--measures")
    for wrong in ("other.run", "empty.run"):
        result = cli("compare", "a.run", wrong, *judged, "RR")
        assert (result.code, result.out) == (1, "")
        assert f"no query of {wrong} is judged in collection/qrels/test.tsv" in result.error
    partly = cli("compare", "a.run", "b.run", *judged, "RR")
    assert partly.lines[0]["queries"] == 2
    assert partly.error == "searchlib: b.run lacks 1 of 2 judged queries; they count as 0"


def test_compare_says_where_a_measure_is_undefined(cli: Run, folder: Path) -> None:
    """Accuracy is of queries that have a relevant result."""
    Path("q.qrels").write_text("q1 0 note-1 1\nq1 0 note-2 0\nq2 0 note-1 1\nq2 0 note-2 0\n")
    both = "q1 Q0 note-1 1 2 a\nq1 Q0 note-2 2 1 a\nq2 Q0 note-2 1 1 a\n"
    Path("a.run").write_text(both)
    Path("b.run").write_text(both + "q2 Q0 note-1 2 2 b\n")
    result = cli("compare", "a.run", "b.run", "--qrels", "q.qrels", "--measures", "Accuracy")
    assert result.error == "searchlib: Accuracy is undefined for 1 queries of a.run"


def test_compare_fits_a_terminal(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Path("a.run").write_text("q1 Q0 note-1 1 2 a\nq2 Q0 note-2 1 2 a\n")
    Path("b.run").write_text("q1 Q0 note-1 1 2 b\nq2 Q0 note-3 1 2 b\n")
    judgements = ("--qrels", "collection/qrels/test.tsv", "--measures", "nDCG@10")
    table = cli("compare", "a.run", "b.run", *judgements, "--format", "table").out
    (row,) = (line.split() for line in table.splitlines() if "nDCG@10" in line)
    assert (len(row), row[-1]) == (8, "1/0/1")


def test_info_and_verify(cli: Run, notes: Path) -> None:
    (info,) = cli("info", notes).lines
    assert (info["documents"], info["retrievers"]) == (
        4,
        ["bm25", "bm25_passage", "hybrid"],
    )
    assert info["settings"]["k1"] == 0.9
    assert info["bytes"] > 0
    assert cli("verify", notes).lines == []


def test_tables_on_a_terminal(cli: Run, notes: Path) -> None:
    for arguments, wanted in [
        (("search", notes, "moon"), "Marées"),
        (("search", notes, "moon", "--explain"), "moon"),
        (("search", notes, "zebra"), "nothing found"),
        (("explain", notes, "moon", "note-3"), "note-3"),
        (("info", notes), "documents"),
        (("verify", notes), "no problems"),
        (("eval", notes, "collection"), "nDCG@10"),
        (("run", notes, "collection/queries.jsonl"), "note-1"),
        (("models",), "sentence-transformers/all-MiniLM-L6-v2"),
        (("delete", notes, "note-1"), "1 deleted"),
        (("add", notes, "more.jsonl"), "1 added, 1 updated"),
    ]:
        result = cli(*arguments, "--format", "table")
        assert (result.code, wanted in result.out) == (0, True), (arguments, result)


def test_models_says_where_each_is(cli: Run, folder: Path) -> None:
    lines = cli("models").lines
    assert [list(line) for line in lines] == [["name", "kind", "path", "source", "get"]] * len(
        lines
    )
    assert [(x["name"], x["kind"]) for x in lines][:3] == [
        ("sentence-transformers/all-MiniLM-L6-v2", "dense"),
        ("searchlib/gloss", "sparse"),
        ("rasyosef/splade-tiny", "sparse"),
    ]
    assert all((line["path"] is None) == bool(line["get"]) for line in lines)


def test_options_say_which_fields_are_what(cli: Run, folder: Path) -> None:
    write_jsonl(
        folder / "odd.jsonl",
        {"nr": 7, "headline": "Ice", "body": "cold water", "more": "very", "year": 1, "junk": 2},
    )
    done = cli("index", "odd.index", "odd.jsonl", "--id", "nr", "--title", "headline", "--text",
               "body,more", "--metadata", "year", *WORDS_ONLY)  # fmt: skip
    assert done.code == 0, done.err
    hit = cli("search", "odd.index", "very cold").lines[0]
    assert (hit["id"], hit["title"], hit["metadata"]) == ("7", "Ice", {"year": 1})
    done = cli("index", "b.index", "odd.jsonl", "--id", "nr", "--text", "body", "--text", "more",
               "--metadata", "year", "--metadata", "junk", *WORDS_ONLY)  # fmt: skip
    assert done.code == 0, done.err
    assert cli("search", "b.index", "very cold").lines[0]["metadata"] == {"year": 1, "junk": 2}
    assert cli("search", "b.index", "very").lines[0]["id"] == "7"


def test_the_retriever_is_a_choice(cli: Run, notes: Path) -> None:
    (hit,) = cli("search", notes, "moon", "--retriever", "bm25").lines
    assert hit["id"] == "note-3"
    assert hit["score"] == pytest.approx(
        cli("explain", notes, "moon", "note-3", "-r", "bm25").lines[0]["explanation"]["value"]
    )


def test_documents_from_stdin_and_packed_files(cli: Run, folder: Path) -> None:
    text = (folder / "notes.jsonl").read_text()
    done = cli("index", "s.index", "-", "--input-format", "jsonl", *WORDS_ONLY, stdin=text)
    assert done.lines[0]["added"] == 4, done.err
    with gzip.open("packed.jsonl.gz", "wt") as file:
        file.write(text)
    assert cli("index", "p.index", "packed.jsonl.gz", *WORDS_ONLY).lines[0]["added"] == 4


def test_a_beir_folder_is_indexed(cli: Run, folder: Path) -> None:
    assert cli("index", "c.index", "collection", *WORDS_ONLY).lines[0]["added"] == 4
    assert cli("search", "c.index", "moon").lines[0]["id"] == "note-3"


def test_a_folder_of_texts_is_indexed(cli: Run, folder: Path) -> None:
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The moon pulls the sea.")
    (texts / "b.md").write_text("# Bread\n\nYeast makes the dough rise.")
    (texts / "c.html").write_text("<title>Roots</title><p>A plant drinks with its roots.</p>")
    assert cli("index", "t.index", "texts", *WORDS_ONLY).lines[0]["added"] == 3
    assert cli("search", "t.index", "dough").lines[0]["id"].endswith("b.md")


def test_settings_are_kept_and_reported(cli: Run, folder: Path) -> None:
    cli("index", "n.index", "notes.jsonl", *WORDS_ONLY, "--k1", "1.2", "--b", "0.75",
        "--language", "french")  # fmt: skip
    settings = cli("info", "n.index").lines[0]["settings"]
    assert (settings["k1"], settings["b"], settings["language"]) == (1.2, 0.75, "french")


def test_the_prompt_answers_until_it_ends(cli: Run, notes: Path) -> None:
    typed = ["moon", "", "dough"]
    result = cli("search", notes, "-r", "bm25", "-k", "1", typed=typed)
    assert (result.code, result.err) == (0, "")
    assert [json.loads(line)["id"] for line in result.out.split("\n") if line] == [
        "note-3", "note-2",
    ]  # fmt: skip


def test_an_error_does_not_end_the_prompt(cli: Run, notes: Path) -> None:
    result = cli("search", notes, "-k", "0", typed=["moon", "dough"])
    assert result.code == 0
    assert [line.partition(":")[0] for line in result.err.splitlines()] == ["searchlib"] * 2


def test_json_is_valid_whatever_the_ids_are(cli: Run, folder: Path) -> None:
    odd = ["a/b", "🙂", "../up", "with space", 'quo"te', "-dash", "x" * 500, "naïve", "a#0", "%"]
    write_jsonl(
        folder / "odd.jsonl", *({"id": id, "text": f"moon {i}"} for i, id in enumerate(odd))
    )
    assert cli("index", "odd.index", "odd.jsonl", *WORDS_ONLY).code == 0
    result = cli("search", "odd.index", "moon", "-k", "100")
    assert {json.loads(line)["id"] for line in result.out.splitlines()} == set(odd)
    for id in odd:
        assert cli("explain", "odd.index", "moon", "--", id).code == 0
    for id in odd:
        assert cli("delete", "odd.index", "--", id).lines == [{"deleted": 1}]
