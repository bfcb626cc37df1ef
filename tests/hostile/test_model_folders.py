"""Model folders that lie, are spoiled, or lead elsewhere: vectors, or one line of our errors."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given
from hypothesis import strategies as st

from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.dense_layout import read_dense
from searchlib.encoders.layout import inside
from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.weights import Weights, weight_files
from searchlib.errors import UnsupportedModel

TEXTS = ["the cat in the garden", "", "zzz \U0001f600"]
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        3,
        10**9,
        10**400,
        1.5,
        float("inf"),
        "",
        "x",
        "../..",
        [],
        [1],
        {},
        "\0",
    ]
)


def use(folder: Path, masked: bool) -> None:
    """Encodes with a folder, as dense or as sparse; an error of ours is an answer, too."""
    with time_limit(), np.errstate(all="ignore"):
        try:
            if masked:
                for made in (SparseEncoder(folder), LookupEncoder(folder)):
                    assert made.fingerprint
                    rows = made.encode_query(TEXTS)
                    assert np.isfinite(rows.values).all()
                rows = SparseEncoder(folder).encode_document(TEXTS)
                assert np.isfinite(rows.values).all()
            else:
                encoder = DenseEncoder(folder)
                assert encoder.fingerprint
                assert np.isfinite(encoder.encode_query(TEXTS)).all()
                encoder.offsets(TEXTS[0])
        except OURS as error:
            one_line(error)


@pytest.fixture(params=[False, True], ids=["dense", "masked"])
def model(
    request: pytest.FixtureRequest, tiny_dense: Path, tiny_sparse: Path, tmp_path: Path
) -> tuple[Path, bool]:
    folder = tiny_sparse if request.param else tiny_dense
    return shutil.copytree(folder, tmp_path / "model"), request.param


def test_configs_that_lie(model: tuple[Path, bool]) -> None:
    folder, masked = model
    good = json.loads((folder / "config.json").read_bytes())
    keys = [*good, "auto_map", "position_embedding_type", "quantization_config", "is_decoder"]

    @fuzz(50)
    @given(st.dictionaries(st.sampled_from(keys), ODD, min_size=1, max_size=2))
    def run(changes: dict[str, Any]) -> None:
        text = json.dumps({**good, **changes})
        (folder / "config.json").write_text(text)
        use(folder, masked)

    run()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_spoiled_json(model: tuple[Path, bool], name: str) -> None:
    folder, masked = model
    good = (folder / name).read_bytes()

    @fuzz(30)
    @given(spoiled([good]))
    def run(data: bytes) -> None:
        (folder / name).write_bytes(data)
        use(folder, masked)

    run()


def test_spoiled_weights(model: tuple[Path, bool]) -> None:
    """Header, shapes and numbers; also where the header stays readable, so that shapes lie."""
    folder, masked = model
    path = folder / "model.safetensors"
    good = path.read_bytes()
    size = int.from_bytes(good[:8], "little")
    header, data = good[8 : 8 + size], good[8 + size :]
    tensors = json.loads(header)
    tensors.pop("__metadata__", None)

    @fuzz(60)
    @given(st.data())
    def run(draw: st.DataObject) -> None:
        match draw.draw(st.integers(0, 3)):
            case 0:
                path.write_bytes(draw.draw(spoiled([good[: 8 + size]])) + data)
            case 1:
                changed = draw.draw(spoiled([header]))
                path.write_bytes(len(changed).to_bytes(8, "little") + changed + data)
            case 2:  # a tensor is another one, or of another shape
                names = st.sampled_from(sorted(tensors))
                mine, other = draw.draw(names), draw.draw(names)
                changed = json.dumps({**tensors, mine: tensors[other]}).encode()
                path.write_bytes(len(changed).to_bytes(8, "little") + changed + data)
            case _:
                numbers = bytearray(data)
                place = draw.draw(st.integers(0, len(data) // 4 - 1)) * 4
                value = draw.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e38, 0]))
                numbers[place : place + 4] = np.float32(value).tobytes()
                path.write_bytes(good[: 8 + size] + bytes(numbers))
        use(folder, masked)

    run()


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def test_modules_that_lie(tiny_dense: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_dense, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    files = {
        "modules.json": json.dumps(MODULES).encode(),
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
        "sentence_bert_config.json": b'{"max_seq_length": 32, "do_lower_case": false}',
        "config_sentence_transformers.json": b'{"prompts": {"query": "a: "}}',
    }

    @fuzz(60)
    @given(st.sampled_from(sorted(files)), st.data())
    def run(name: str, draw: st.DataObject) -> None:
        for other, data in files.items():
            (folder / other).write_bytes(data)
        changed = draw.draw(spoiled([files[name]]) | ODD.map(lambda x: json.dumps(x).encode()))
        (folder / name).write_bytes(changed)
        use(folder, masked=False)

    run()


@pytest.mark.parametrize("path", ["..", "../x", "/etc", "a/../../b", "a\0b"])
def test_a_module_elsewhere_is_refused(tiny_dense: Path, tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsupportedModel, match="outside itself"):
        inside(tmp_path, path)
    folder = shutil.copytree(tiny_dense, tmp_path / "model")
    (folder / "modules.json").write_text(json.dumps([MODULES[0], {**MODULES[1], "path": path}]))
    with pytest.raises(UnsupportedModel, match="outside itself"):
        read_dense(folder)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "..", 7, None, ["x"]])
def test_a_shard_elsewhere_is_not_read(tmp_path: Path, shard: object) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"another model's")
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": {"a": shard, "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsupportedModel, match=r"lacks|do not go together"):
        weight_files(folder)


def test_a_header_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write((5 << 30).to_bytes(8, "little"))
        file.truncate(6 << 30)  # a hole: nothing on the disk
    with pytest.raises(UnsupportedModel, match="cut short"):
        Weights(tmp_path)
    os.truncate(path, 0)


def planted(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    (folder / "modeling_evil.py").write_text("open('ran', 'w')\n")
    config = json.loads((folder / "config.json").read_bytes())
    config["auto_map"] = dict.fromkeys(
        ("AutoConfig", "AutoModel", "AutoModelForMaskedLM"), "modeling_evil.Evil"
    )
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))


def test_code_in_a_model_is_not_run(
    model: tuple[Path, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, masked = model
    monkeypatch.chdir(tmp_path)
    planted(folder)
    make: Callable[[Path], Any] = SparseEncoder if masked else DenseEncoder
    with pytest.raises(UnsupportedModel) as caught:
        make(folder).encode_query(["a"])
    one_line(caught.value)
    assert not (tmp_path / "ran").exists()
