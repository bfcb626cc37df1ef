"""Static vectors: means of a table's rows, in the layouts that users bring."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_families import make_tokenizer, save_modules

from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder
from searchlib.encoders.tokenizing import Tokenizer
from searchlib.errors import BadInput, UnsupportedModel
from searchlib.representations import token_offsets

STATIC = [("StaticEmbedding", "", None), ("Normalize", "1_Normalize", None)]
TEXTS = ["the quick red dog", "Cats near the OLD house", "\u96e8", "", "rain " * 600]


def save(folder: Path, **arrays: np.ndarray) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, str(folder / "model.safetensors"))


def table(size: int, dimension: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(size, dimension)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As sentence-transformers saves one: a table, then normalisation."""
    size = make_tokenizer(tmp_path)
    save(tmp_path, **{"embedding.weight": table(size)})
    save_modules(tmp_path, STATIC)
    return tmp_path


def slow(folder: Path, rows: np.ndarray, text: str, skip: int | None = None) -> np.ndarray:
    """The oracle: look up, add, divide, scale."""
    (ids,) = Tokenizer(folder, 1_000_000).words([text])
    kept = [rows[i] for i in ids.tolist() if i != skip]
    if not kept:
        return np.zeros(rows.shape[1], np.float32)
    mean = sum(kept) / len(kept)
    return mean / np.linalg.norm(mean)


def test_a_vector_is_the_normalised_mean_of_all_tokens(folder: Path) -> None:
    encoder = DenseEncoder(folder)
    rows = table(Tokenizer(folder, 10).size)
    expected = np.stack([slow(folder, rows, text) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode_document(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_query(TEXTS), expected, atol=1e-6)
    assert encoder.dimension == 6
    assert encoder.encode_document([]).shape == (0, 6)


def test_sentence_transformers_gives_the_same_vectors(folder: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    texts = [text for text in TEXTS if text]
    whole = DenseEncoder(folder)
    np.testing.assert_allclose(whole.encode_document(texts), peer.encode(texts), atol=1e-5)
    settings = {"truncate_dim": 4, "model_type": "SentenceTransformer"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    cut = DenseEncoder(folder)
    np.testing.assert_allclose(cut.encode_document(texts), peer.encode(texts), atol=1e-5)
    assert cut.dimension == 4
    assert cut.fingerprint != whole.fingerprint


def test_max_tokens_cuts_texts(folder: Path) -> None:
    short = DenseEncoder(folder, max_tokens=3).encode_document(["cat dog house river river"])
    np.testing.assert_array_equal(short, DenseEncoder(folder).encode_document(["cat dog house"]))


def test_model2vec_weights_mapping_and_unknown_words(tmp_path: Path) -> None:
    size = make_tokenizer(tmp_path)
    few, mapping = table(5), np.arange(size, dtype=np.int64) % 5
    weights = np.linspace(0.1, 2, size)
    save(tmp_path, embeddings=few, mapping=mapping, weights=weights)
    (tmp_path / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    rows = few[mapping] * weights[:, None].astype(np.float32)
    found = DenseEncoder(tmp_path).encode_document(["cat \u96e8 dog"])
    np.testing.assert_allclose(found[0], slow(tmp_path, rows, "cat \u96e8 dog", 1), atol=1e-6)
    assert not np.allclose(found[0], slow(tmp_path, rows, "cat \u96e8 dog"), atol=1e-3)


def test_without_normalisation_lengths_stay(tmp_path: Path) -> None:
    size = make_tokenizer(tmp_path)
    save(tmp_path, **{"embedding.weight": table(size)})
    save_modules(tmp_path, STATIC[:1])
    found = DenseEncoder(tmp_path).encode_document(["cat"])
    (ids,) = Tokenizer(tmp_path, 10).words(["cat"])
    np.testing.assert_array_equal(found[0], table(size)[ids[0]])


def test_any_changed_row_changes_the_fingerprint(folder: Path) -> None:
    before = DenseEncoder(folder).fingerprint
    assert DenseEncoder(folder).fingerprint == before
    rows = table(Tokenizer(folder, 10).size)
    rows[17, 3] += 1
    save(folder, **{"embedding.weight": rows})
    assert DenseEncoder(folder).fingerprint != before


@pytest.mark.parametrize(
    "arrays",
    [
        {"embedding.weight": table(3)},
        {"embedding.weight": np.zeros((200, 0), np.float32)},
        {"embedding.weight": np.zeros(200, np.float32)},
        {"other": table(200)},
        {"embeddings": table(200), "mapping": np.full(200, 9999)},
        {"embedding.weight": np.full((200, 4), np.nan, np.float32)},
    ],
    ids=["too few", "no numbers", "one number", "no table", "wild mapping", "not numbers"],
)
def test_a_table_that_makes_no_sense_is_refused(
    folder: Path, arrays: dict[str, np.ndarray]
) -> None:
    save(folder, **arrays)
    with pytest.raises(UnsupportedModel) as caught:
        DenseEncoder(folder).encode_query(["cat dog"])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modules_after_the_table_are_refused(folder: Path) -> None:
    save_modules(folder, [*STATIC, ("Dense", "2_Dense", {})])
    with pytest.raises(UnsupportedModel, match="only Normalize may follow"):
        DenseEncoder(folder).encode_query(["cat"])


def test_one_string_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"write \[text\]"):
        DenseEncoder(folder).encode_query("cat")


def test_no_torch_is_loaded(folder: Path) -> None:
    code = f"""
import sys
from searchlib.encoders.dense import DenseEncoder
DenseEncoder({str(folder)!r}).encode_document(["a cat"] * 5000)
print(json.dumps(sorted({{"torch", "transformers", "scipy"}} & set(sys.modules))))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", "import json" + code],
        capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    assert json.loads(done.stdout) == []


def test_passages_are_measured_by_the_model_that_has_a_window(
    folder: Path, tiny: Callable[..., Path]
) -> None:
    sparse, static = SparseEncoder(tiny("bert", masked=True)), DenseEncoder(folder)
    assert token_offsets({"dense": static, "sparse": sparse}) == sparse.offsets
    assert token_offsets({"dense": static}) == static.offsets
    other = DenseEncoder(tiny("bert", masked=False))
    assert token_offsets({"dense": other, "sparse": sparse}) == other.offsets


def test_a_file_of_word_vectors_is_no_model_and_the_way_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_text("cat 1 2\n")
    with pytest.raises(UnsupportedModel, match="searchlib distill CORPUS --vectors"):
        DenseEncoder(tmp_path / "a.vec").encode_query(["cat"])
