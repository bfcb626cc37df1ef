"""The command line with models: tiny random ones, made on the spot."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from pathlib import Path

import pytest
from commandline import ROOT, Run

RETRIEVERS = ["bm25", "bm25_passage", "sparse", "lookup", "dense", "hybrid", "instant"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a sparse and a dense model."""
    where = ROOT / "tests" / "encoders" / "model_families.py"
    spec = importlib.util.spec_from_file_location("model_families", where)
    assert spec is not None
    assert spec.loader is not None
    families = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(families)
    folder = tmp_path_factory.mktemp("models")
    sparse = families.make_model(folder / "sparse", "bert", masked=True)
    dense = families.make_model(folder / "dense", "distilbert", masked=False)
    return sparse, dense


@pytest.fixture
def index(folder: Path, cli: Run, models: tuple[Path, Path]) -> Path:
    """An index of the notes with all representations; the models are copies in this folder."""
    for model in models:
        shutil.copytree(model, folder / model.name)
    options = ("--sparse-model", folder / "sparse", "--dense-model", folder / "dense")
    done = cli("index", "all.index", "collection", *options)
    assert done.code == 0, done.err
    assert done.lines[0]["added"] == 4
    return folder / "all.index"


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_every_retriever_answers_and_explains(cli: Run, index: Path, retriever: str) -> None:
    question = "water and light, a house on the river"
    hits = cli("search", index, question, "-r", retriever, "-k", "3", "--explain").lines
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert hits
    for hit in hits:
        assert hit["explanation"]["value"] == pytest.approx(hit["score"], rel=1e-4, abs=1e-4)
    shown = cli("search", index, question, "-r", retriever, "--format", "table")
    assert hits[0]["id"] in shown.out


def test_eval_all_has_every_retriever(cli: Run, index: Path) -> None:
    lines = cli("eval", index, "collection", "--measures", "R@100", "--retriever", "all").lines
    assert {line["retriever"] for line in lines} == set(RETRIEVERS)
    assert {(line["measure"], line["queries"]) for line in lines} == {("R@100", 2)}


def test_expand_tells_text_from_expansion(cli: Run, index: Path, folder: Path) -> None:
    for source in (("--model", "sparse"), ("--index", index)):
        terms = cli("expand", "the moon", *source).lines
        assert [list(term) for term in terms[:1]] == [["term", "weight", "source"]]
        assert {term["source"] for term in terms} <= {"text", "expansion"}
        weights = [term["weight"] for term in terms]
        assert weights == sorted(weights, reverse=True)
        own = {term["term"] for term in terms if term["source"] == "text"}
        assert own <= {"the", "moon"}
    # an index divides them by a power of their length: the same terms, other weights
    two = cli("expand", "-", "--model", "sparse", "-k", "2", stdin="the moon").lines
    assert [line["term"] for line in two] == [term["term"] for term in terms[:2]]
    chart = cli("expand", "the moon", "--model", "sparse", "-k", "2", "--format", "table").out
    assert "of the weight" in chart
    assert len(chart.splitlines()) == 3


def test_the_example_of_expand_runs(cli: Run, folder: Path, models: tuple[Path, Path]) -> None:
    help = cli("expand", "--help").out
    (line,) = help.partition("Example:\n")[2].strip().splitlines()
    result = cli(*shlex.split(line)[1:], "--model", models[0])
    assert result.code == 0, result.err


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_expanding_nothing(cli: Run, folder: Path, models: tuple[Path, Path], text: str) -> None:
    result = cli("expand", text, "--model", models[0])
    assert (result.code, result.out) == (1, "")
    assert "empty" in result.error
    assert cli("expand", "moon", "--model", models[0], "-k", "0").code == 1


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_an_index_built_with_another_model_is_refused(
    cli: Run, index: Path, folder: Path, kind: str
) -> None:
    weights = folder / kind / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 0x55  # another number among the weights
    weights.write_bytes(bytes(data))
    for command in (("search", index, "moon", "-r", kind), ("add", index, "more.jsonl")):
        result = cli(*command)
        assert (result.code, result.out) == (1, "")
        assert f"field '{kind}' was built with another model" in result.error
    assert cli("search", index, "moon", "-r", "bm25").lines[0]["id"] == "note-3"


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_model_that_is_gone_is_missed_only_where_it_is_needed(
    cli: Run, index: Path, folder: Path, kind: str
) -> None:
    shutil.rmtree(folder / kind)
    for command in (("search", index, "moon"), ("add", index, "more.jsonl")):
        result = cli(*command)
        assert (result.code, result.out) == (1, "")
        assert str(folder / kind) in result.error
    assert cli("search", index, "moon", "-r", "bm25").lines[0]["id"] == "note-3"
    assert cli("info", index).lines[0]["documents"] == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"nonsense"), ("model.safetensors", b""), ("config.json", b"{"),
     ("config.json", b"[]"), ("tokenizer.json", b"{}")],
)  # fmt: skip
def test_a_damaged_model(
    cli: Run, folder: Path, models: tuple[Path, Path], name: str, content: bytes
) -> None:
    for model, option, other in (
        (models[0], "--sparse-model", "--no-dense"),
        (models[1], "--dense-model", "--no-sparse"),
    ):
        copy = shutil.copytree(model, folder / model.name)
        (copy / name).write_bytes(content)
        result = cli("index", "m.index", "notes.jsonl", option, copy, other)
        assert (result.code, result.out) == (1, "")
        assert copy.name in result.error


def test_pruning_passages_and_relative_folders_stay_as_they_were_made(
    cli: Run, folder: Path, index: Path
) -> None:
    options = (
        "--sparse-model", "sparse", "--no-dense", "--max-passages", "1",
        "--prune-documents", "0.9", "--prune-queries", "0.5",
    )  # fmt: skip
    assert cli("index", "pruned.index", "collection", *options).lines[0]["added"] == 4
    again = cli("index", "pruned.index", "collection", *options)
    assert (again.code, again.lines[0]["unchanged"]) == (0, 4)
    settings = cli("info", "pruned.index").lines[0]["settings"]
    assert (settings["max_passages"], settings["sparse_documents"]["ratio"]) == (1, 0.9)
    assert settings["sparse_queries"]["ratio"] == 0.5
    few = cli("search", "pruned.index", "water", "-r", "sparse", "--explain").lines
    many = cli("search", index, "water", "-r", "sparse", "--explain").lines
    parts = [sum(len(hit["explanation"].get("parts", ())) for hit in hits) for hits in (few, many)]
    assert parts[0] < parts[1]
    refused = cli("index", "pruned.index", "collection", "--prune-documents", "0.1")
    assert refused.code == 1
    assert "sparse_documents" in refused.err
    assert cli("index", "x.index", "collection", "--prune-queries", "7").code == 1
