from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_families import TEXTS, add_tokens

from searchlib.encoders import lookup
from searchlib.encoders.lookup import LookupEncoder
from searchlib.encoders.pruning import Pruning
from searchlib.encoders.sparse import SparseEncoder
from searchlib.errors import UnsupportedModel

Tiny = Callable[..., Path]


def router(tiny: Tiny, folder: Path) -> Path:
    """An inference-free sentence-transformers folder, saved by sentence-transformers itself."""
    st = pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers.sparse_encoder import modules
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny("bert"))
    size = len(tokenizer.get_vocab())
    torch.manual_seed(5)
    weights = torch.rand(size) - 0.2  # some are negative
    made = modules.Router.for_query_document(
        query_modules=[modules.SparseStaticEmbedding(tokenizer, weight=weights, frozen=True)],
        document_modules=[
            modules.Transformer(str(tiny("bert")), transformer_task="fill-mask"),
            modules.SpladePooling(),
        ],
    )
    st.SparseEncoder(modules=[made]).save(str(folder))
    return folder


def test_router_folder_equals_sentence_transformers(tiny: Tiny, tmp_path: Path) -> None:
    folder = router(tiny, tmp_path / "model")
    peer = pytest.importorskip("sentence_transformers").SparseEncoder(str(folder))
    expected = peer.encode_query(TEXTS).to_dense().numpy()
    documents = peer.encode_document(TEXTS).to_dense().numpy()
    encoder = SparseEncoder(folder)
    for kind in (encoder, LookupEncoder(folder)):
        found = kind.encode_query(TEXTS)
        for i in range(len(TEXTS)):
            ids = {encoder.tokenizer.id(term): w for term, w in found.row(i).items()}
            positive = {int(c): float(expected[i, c]) for c in np.flatnonzero(expected[i] > 0)}
            assert ids == pytest.approx(positive)
    found = encoder.encode_document(TEXTS)
    for i in range(len(TEXTS)):
        total = sum(found.row(i).values())
        assert total == pytest.approx(documents[i].sum(), abs=1e-3)
    assert "_network" not in vars(encoder._document_side._backbone)


def test_idf_json_makes_queries_and_drops_special_tokens_from_documents(
    tiny: Tiny, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    idf = {"dog": 2.5, "the": 0.25, "river": 0.0, "not-in-the-vocabulary": 9.0}
    (folder / "idf.json").write_text(json.dumps(idf))
    encoder = SparseEncoder(folder)
    query = encoder.encode_query(["the Dog and the dog over the river"]).row(0)
    assert query == {"the": 0.25, "dog": 2.5}
    plain = SparseEncoder(tiny("bert")).encode_document(TEXTS)
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert special & set(plain.terms)
    found = encoder.encode_document(TEXTS)
    for i in range(len(TEXTS)):
        kept = {term: w for term, w in plain.row(i).items() if term not in special}
        assert found.row(i) == pytest.approx(kept)
    provenance = encoder.encode_with_provenance(TEXTS)
    assert [len(spans) for spans in provenance.spans] == np.diff(found.indptr).tolist()


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, where tables are kept whatever their size."""
    monkeypatch.setenv("SEARCHLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lookup, "WORTH_KEEPING", 0)
    return tmp_path / "cache"


def expected_of(model: SparseEncoder, pieces: dict[str, int]) -> dict[str, float]:
    """The definition: the 4 heaviest terms that each piece alone makes, the largest of each."""
    weights: dict[str, float] = {}
    for piece in pieces:
        alone = model.encode_query([piece]).row(0)
        for term in sorted(alone, key=lambda t: (-alone[t], model.tokenizer.id(t)))[:4]:
            weights[term] = max(weights.get(term, 0.0), alone[term])
    for piece, count in pieces.items():
        weights[piece] = weights.get(piece, 0.0) + count**0.5
    return weights


def test_a_model_without_a_table_gets_one_of_what_each_word_piece_makes_alone(
    tiny: Tiny, user_cache: Path
) -> None:
    model, encoder = SparseEncoder(tiny("bert")), LookupEncoder(tiny("bert"))
    query = encoder.encode_query(["the dog, the DOG; cats [SEP]", ""])
    pieces = {"the": 2, "dog": 2, ",": 1, "cats": 1, ";": 1}
    known = {piece: n for piece, n in pieces.items() if model.tokenizer.id(piece) is not None}
    assert query.row(0) == pytest.approx(expected_of(model, known), rel=1e-4)
    assert query.row(1) == {}
    assert not encoder.has_table
    documents = model.encode_document(TEXTS)
    np.testing.assert_array_equal(encoder.encode_document(TEXTS).values, documents.values)


def test_the_table_is_made_once_and_made_anew_where_it_is_damaged(
    tiny: Tiny, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = LookupEncoder(tiny("bert")).encode_query(["the dog"]).row(0)
    [kept] = user_cache.glob("tables/*/model.safetensors")
    assert [path.name for path in kept.parent.iterdir()] == ["model.safetensors"]
    made: list[int] = []
    make = lookup.make_neighbours
    monkeypatch.setattr(lookup, "make_neighbours", lambda model: made.append(1) or make(model))
    assert LookupEncoder(tiny("bert")).encode_query(["the dog"]).row(0) == first
    assert not made
    whole = kept.read_bytes()
    for damaged in (b"", whole[:100], whole[:-3], whole[:-4] + b"\xff\xff\xff\x7f"):
        kept.write_bytes(damaged)
        assert LookupEncoder(tiny("bert")).encode_query(["the dog"]).row(0) == first
        assert kept.read_bytes() == whole
    assert len(made) == 4


def test_a_cache_that_cannot_be_written_to_is_done_without(
    tiny: Tiny, user_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user_cache.write_text("a file where a folder should be")
    assert LookupEncoder(tiny("bert")).encode_query(["the dog"]).row(0)
    assert "cannot keep the table" in caplog.text


@pytest.mark.parametrize("table", [True, False])
def test_queries_are_put_in_lower_case_where_the_model_says_so(
    table: bool, tiny: Tiny, tmp_path: Path, user_cache: Path
) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    if table:
        (folder / "idf.json").write_text(json.dumps({"dog": 2.5, "the": 0.2}))
    encoder = LookupEncoder(folder)
    query = encoder.encode_query(["The DOG"]).row(0)
    assert "dog" in query
    assert query == encoder.encode_query(["the dog"]).row(0)


def test_tokens_that_the_model_does_not_know_are_left_out(
    tiny: Tiny, tmp_path: Path, user_cache: Path
) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    rows = add_tokens(folder)
    found = [
        LookupEncoder(path).encode_query([text]).row(0)
        for path, text in ((tiny("bert"), "the dog"), (folder, f"the dog <extra{rows + 1}>"))
    ]
    known = [{term: w for term, w in row.items() if not term.endswith((">", "]"))} for row in found]
    assert known[1] == pytest.approx(known[0])
    assert len(known[0]) > 2


def test_query_pruning_and_fingerprints(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    (folder / "idf.json").write_text(json.dumps({"dog": 2.5, "cat": 1.0, "the": 0.2}))
    query = LookupEncoder(folder, queries=Pruning(ratio=0.2)).encode_query(["the cat, the dog"])
    assert query.row(0) == {"dog": 2.5, "cat": 1.0}
    first = LookupEncoder(folder).fingerprint
    (folder / "idf.json").write_text(json.dumps({"dog": 2.5, "cat": 1.5, "the": 0.2}))
    assert LookupEncoder(folder).has_table
    assert first != LookupEncoder(folder).fingerprint != LookupEncoder(tiny("bert")).fingerprint


def test_a_damaged_table_is_named(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    for text in ("{", "[1]", '{"dog": "heavy"}'):
        (folder / "idf.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=r"idf\.json"):
            LookupEncoder(folder).encode_query(["dog"])
