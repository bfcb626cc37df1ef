"""Static models that lie or are spoiled, and word vectors: vectors, or one line of our errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import OURS, fuzz, one_line, spoiled, time_limit
from hypothesis import given
from hypothesis import strategies as st
from test_model_folders import ODD, use

from searchlib.encoders.word2vec import read_word2vec
from searchlib.training.distill import Sample
from searchlib.training.static_model import distill_vectors

WORDS = ["cat", "garden", "bread"]
VECTORS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
KEYS = ["model_type", "hidden_dim", "normalize", "seq_length", "max_length", "architectures"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample = Sample(["the cat in the garden", "bread for a cat"])
    distill_vectors(sample, WORDS, VECTORS, tmp_path / "model", "x.vec")
    return tmp_path / "model"


def test_settings_that_lie(folder: Path) -> None:
    path = folder / "config.json"
    good = json.loads(path.read_bytes())

    @fuzz(60)
    @given(st.dictionaries(st.sampled_from(KEYS), ODD, min_size=1, max_size=2))
    def run(changes: dict[str, Any]) -> None:
        path.write_text(json.dumps({**good, **changes}))
        use(folder, masked=False)

    run()


@pytest.mark.parametrize(
    "name", ["config.json", "modules.json", "tokenizer.json", "model.safetensors"]
)
def test_spoiled_files(folder: Path, name: str) -> None:
    path = folder / name
    good = path.read_bytes()

    @fuzz(60)
    @given(spoiled([good]))
    def run(data: bytes) -> None:
        path.write_bytes(data)
        use(folder, masked=False)

    run()


def test_tables_that_do_not_fit(folder: Path) -> None:
    from safetensors.numpy import save_file

    shapes = st.lists(st.sampled_from([0, 1, 2, 4, 5, 300]), max_size=3)
    kinds = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_])

    @fuzz(60)
    @given(shapes, kinds, st.sampled_from(["embeddings", "weights", "mapping", "x"]))
    def run(shape: list[int], kind: type, name: str) -> None:
        save_file({name: np.ones(shape, kind)}, folder / "model.safetensors")
        use(folder, masked=False)

    run()


def test_spoiled_word_vectors(tmp_path: Path) -> None:
    rows = list(zip(WORDS, VECTORS, strict=True))
    text = b"3 4\n" + b"".join(
        word.encode() + b" " + b" ".join(b"%f" % x for x in row) + b"\n" for word, row in rows
    )
    binary = b"3 4\n" + b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in rows)
    goods = {
        "a.vec": text,
        "a.bin": binary,
        "a.txt.gz": gzip.compress(text),
        "a.bin.gz": gzip.compress(binary),
    }
    for name, good in goods.items():
        path = tmp_path / name
        path.write_bytes(good)
        words, vectors = read_word2vec(path)
        assert words == WORDS
        assert vectors == pytest.approx(VECTORS, abs=1e-5)

    @fuzz(200)
    @given(st.sampled_from(sorted(goods)), st.data())
    def run(name: str, data: st.DataObject) -> None:
        path = tmp_path / name
        path.write_bytes(data.draw(spoiled([goods[name]])))
        with time_limit(), np.errstate(all="ignore"):
            try:
                words, vectors = read_word2vec(path)
            except OURS as error:
                one_line(error)
            else:
                assert len(words) == len(vectors) > 0
                assert np.isfinite(vectors).all()

    run()
