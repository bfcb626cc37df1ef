"""What a training leaves: folders that others open, cards, logs; each whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.errors import StorageFailed
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.dense_layout import read_dense
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.sparse_layout import read_sparse
from searchlib.errors import BadInput, UnsupportedModel
from searchlib.evaluation import compare
from searchlib.training.artefacts import write_whole
from searchlib.training.card import Card, Judgement
from searchlib.training.export import copy_model, export_dense, export_sparse
from searchlib.training.log import TrainingLog, plot_log, read_log
from searchlib.training.new_folder import new_folder

TEXTS = ["the cat is asleep", "bread and water", "a doctor writes"]


def trained(folder: Path, masked: bool) -> Any:
    """A model like the folder's, with other weights."""
    import torch
    import transformers

    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModel
    model = auto.from_pretrained(folder)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_a_sparse_model_opens_as_it_is(tmp_path: Path, tiny_sparse: Path) -> None:
    from sentence_transformers import SparseEncoder as Theirs

    model = trained(tiny_sparse, masked=True)
    target = tmp_path / "model"
    with new_folder(target) as folder:
        export_sparse(tiny_sparse, read_sparse(tiny_sparse), model.save_pretrained, folder)
    ours = SparseEncoder(target)
    vectors = ours.encode_document(TEXTS)
    theirs = Theirs(str(target)).encode_document(TEXTS, convert_to_sparse_tensor=False)
    assert theirs.shape[1] > 0
    for row in range(len(TEXTS)):
        found = vectors.row(row)
        expected = {
            ours.tokenizer.term(id): float(theirs[row, id])
            for id in np.flatnonzero(np.asarray(theirs[row]))
        }
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, abs=1e-4)
    assert vectors.row(0) != SparseEncoder(tiny_sparse).encode_document(TEXTS).row(0)
    suffixes = {path.suffix for path in target.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".txt", ".safetensors"}
    # a model that was exported can be exported again
    with new_folder(tmp_path / "again") as folder:
        export_sparse(target, read_sparse(target), model.save_pretrained, folder)
    assert SparseEncoder(tmp_path / "again").encode_document(TEXTS).row(1) == vectors.row(1)
    assert read_sparse(tmp_path / "again").digest() == read_sparse(target).digest()


@pytest.mark.parametrize("plain", [True, False])
def test_a_dense_model_opens_as_it_is(tmp_path: Path, tiny_dense: Path, plain: bool) -> None:
    from sentence_transformers import SentenceTransformer

    source = tiny_dense
    if not plain:
        source = tmp_path / "source"
        SentenceTransformer(str(tiny_dense)).save(str(source))
        modules = json.loads((source / "modules.json").read_text())
        kind = "sentence_transformers.models.Normalize"
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": kind})
        (source / "modules.json").write_text(json.dumps(modules))
        (source / "2_Normalize").mkdir()
    model = trained(tiny_dense, masked=False)
    target = tmp_path / "model"
    with new_folder(target) as folder:
        export_dense(source, read_dense(source), model.save_pretrained, folder)
    vectors = DenseEncoder(target).encode_document(TEXTS)
    theirs = SentenceTransformer(str(target)).encode(TEXTS)
    np.testing.assert_allclose(vectors, theirs, atol=1e-4)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths, 1) is not plain
    assert not np.allclose(vectors, DenseEncoder(source).encode_document(TEXTS), atol=1e-2)


def littered(source: Path) -> None:
    """Beside a model what a trainer and other runtimes leave there."""
    for place in ("checkpoint-100", "onnx", ".cache", "checkpoint-100/1_Pooling"):
        (source / place).mkdir()
        for name in ("config.json", "model.safetensors", "vocab.txt"):
            (source / place / name).write_bytes(b"{}")
    (source / "trainer_state.json").write_text("{}")
    (source / ".hidden.json").write_text("{}")
    (source / "optimizer.safetensors").write_bytes(b"none")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_trainers_leftovers_are_not_copied(tmp_path: Path, tiny_sparse: Path) -> None:
    source = tmp_path / "source"
    model = trained(tiny_sparse, masked=True)
    with new_folder(source) as folder:
        export_sparse(tiny_sparse, read_sparse(tiny_sparse), model.save_pretrained, folder)
    own = files_in(source)
    littered(source)
    with new_folder(tmp_path / "copy") as folder:
        copy_model(source, folder)
    assert files_in(tmp_path / "copy") == own
    with new_folder(tmp_path / "trained") as folder:
        export_sparse(source, read_sparse(source), model.save_pretrained, folder)
    assert files_in(tmp_path / "trained") == own


def test_what_a_model_names_is_copied(tmp_path: Path, tiny_sparse: Path) -> None:
    """The folders of a router's sides, and those of what searchlib adds."""
    source = tmp_path / "source"
    for place in ("document_0_MLMTransformer", "query_0_Table/deep", "gains", "blend"):
        (source / place).mkdir(parents=True)
        (source / place / "model.safetensors").write_bytes(b"1")
    kind = "sentence_transformers.models.Router"
    modules = [{"idx": 0, "name": "0", "path": "", "type": kind}]
    (source / "modules.json").write_text(json.dumps(modules))
    sides = {"document_0_MLMTransformer": "x.MLMTransformer", "query_0_Table": "x.Table"}
    (source / "router_config.json").write_text(json.dumps({"types": sides, "structure": {}}))
    own = files_in(source)
    littered(source)
    with new_folder(tmp_path / "copy") as folder:
        copy_model(source, folder)
    assert files_in(tmp_path / "copy") == own
    (source / "router_config.json").write_text(json.dumps({"types": {"../other": "x.Table"}}))
    with pytest.raises(UnsupportedModel, match="outside itself"), new_folder(tmp_path / "n") as to:
        copy_model(source, to)


def test_a_model_with_a_table_for_queries_is_refused(tmp_path: Path, tiny_sparse: Path) -> None:
    source = shutil.copytree(tiny_sparse, tmp_path / "free")
    (source / "idf.json").write_text('{"cat": 1.0}')
    with (
        pytest.raises(UnsupportedModel, match="queries of its own kind"),
        new_folder(tmp_path / "model") as folder,
    ):
        export_sparse(source, read_sparse(source), lambda place: None, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free"]


def test_files_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path = tmp_path / "plan.json"
    write_whole(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(StorageFailed, match="no space left"):
            write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert path.read_bytes() == b"old"


def test_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with TrainingLog(path) as log:
        for step in (10, 20, 30):
            log.write({"step": step, "loss": 1 / step, "ndcg": None})
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # a crash cut this short
    assert [entry["step"] for entry in read_log(path)] == [10, 20, 30]
    with TrainingLog(path) as log:  # going on from a checkpoint at step 24
        log.write({"step": 25, "loss": 0.5})
        log.write({"step": 25, "validation": 0.4})
    assert [entry["step"] for entry in read_log(path)] == [10, 20, 25, 25]
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(BadInput, match=r"log\.jsonl:1"):
        read_log(path)


def test_the_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [{"step": s, "loss": 1 / s, "lr": 1e-5, "ndcg": None} for s in (1, 2)]
    entries.append({"step": 3, "loss": 0.1, "ndcg": 0.5})
    assert plot_log(entries, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert not plot_log([{"step": 1}], tmp_path / "none.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert not plot_log(entries, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_card() -> None:
    import yaml

    comparison = compare({"a": 0.5, "b": 1.0}, {"a": 0.25, "b": 1.0})
    card = Card(
        name='my "model" | x',
        kind="sparse",
        base="who/what: it",
        made="Made by distillation.",
        data={"documents": 12, "pseudo|queries": "3\n4"},
        settings={"steps": 100, "seed": 0},
        judgements=(Judgement("held-out pseudo-queries", "nDCG@10", comparison),),
    )
    text = card.text()
    _, matter, body = text.split("---\n", 2)
    values = yaml.safe_load(matter)
    assert values["base_model"] == "who/what: it"
    assert values["library_name"] == "sentence-transformers"
    assert "sparse-encoder" in values["tags"]
    assert "| 0.6250 | 0.7500 | +0.1250 |" in body
    assert "| pseudo\\|queries | 3 4 |" in body
    assert "| steps | 100 |" in body
    assert "numpy" in body
