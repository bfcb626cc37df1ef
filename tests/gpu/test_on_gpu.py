"""What a GPU makes is what the CPU makes, but for rounding: `make test` runs this where one is.

By hand: SEARCHLIB_TEST_GPU=1 python -m pytest tests/gpu
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blends import make_blend
from numpy.typing import NDArray
from tiny_models import WORDS

from indexes.types import TermVectors
from searchlib import Document, Engine, Settings
from searchlib.encoders import backbone
from searchlib.encoders.dense import DenseEncoder
from searchlib.encoders.sparse import SparseEncoder

if not os.environ.get("SEARCHLIB_TEST_GPU"):
    pytest.skip("GPUs are hidden unless SEARCHLIB_TEST_GPU is set", allow_module_level=True)
torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch finds no GPU", allow_module_level=True)

from searchlib.encoders.network import Network  # noqa: E402
from searchlib.training import objectives  # noqa: E402
from searchlib.training.batch import Batch  # noqa: E402
from searchlib.training.loop import TrainingSettings, train  # noqa: E402
from searchlib.training.models import TrainableDense, TrainableSparse  # noqa: E402

ROUNDING = 2e-2


def texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["", *(" ".join(rng.choices(WORDS[5:], k=rng.randint(1, 60))) for _ in range(count - 1))]


@pytest.fixture(autouse=True)
def torch_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(backbone, "LEAN_WORK", 0.0)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    yield
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def assert_rows_close(found: TermVectors, expected: TermVectors) -> None:
    """A random model's logits are the differences of large numbers: a weight may be .1 off."""
    assert len(found) == len(expected)
    for row in range(len(expected)):
        ours, theirs = found.row(row), expected.row(row)
        terms = sorted(ours.keys() | theirs.keys())
        pairs = np.array([[of.get(term, 0.0) for term in terms] for of in (ours, theirs)])
        np.testing.assert_allclose(*pairs, atol=0.1)
        assert cosine(*pairs) > 0.999


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a.ravel() @ b.ravel() / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0))


def test_the_gpu_is_chosen_where_there_is_one(tiny_dense: Path) -> None:
    encoder = DenseEncoder(tiny_dense)
    encoder.encode_document(texts(100))
    assert encoder.gpu is not None
    assert encoder.gpu.type == "cuda"


@pytest.mark.parametrize("count", [1, 300])
def test_dense_vectors(tiny_dense: Path, count: int) -> None:
    some = texts(count, 1)
    found = DenseEncoder(tiny_dense, "cuda").encode_document(some)
    np.testing.assert_allclose(
        found, DenseEncoder(tiny_dense, "cpu").encode_document(some), atol=ROUNDING
    )


def test_sparse_vectors_and_where_terms_come_from(tiny_sparse: Path) -> None:
    some = texts(300, 2)
    gpu, cpu = SparseEncoder(tiny_sparse, "cuda"), SparseEncoder(tiny_sparse, "cpu")
    assert_rows_close(gpu.encode_document(some), cpu.encode_document(some))
    assert_rows_close(gpu.encode_with_provenance(some).vectors, cpu.encode_document(some))


def test_blends(tiny_sparse: Path, tiny_dense: Path, tmp_path: Path) -> None:
    folder = make_blend(tmp_path / "blend", tiny_sparse, tiny_dense)
    some = texts(300, 3)
    gpu, cpu = SparseEncoder(folder, "cuda"), SparseEncoder(folder, "cpu")
    for name in ("encode_document", "encode_query"):
        found, expected = getattr(gpu, name)(some), getattr(cpu, name)(some)
        assert "_device_map" in vars(gpu.blend)
        # subtle: which terms just make it into a blend of so many is a matter of rounding
        for row in range(len(expected)):
            ours, theirs = found.row(row), expected.row(row)
            for term in ours.keys() & theirs.keys():
                assert ours[term] == pytest.approx(theirs[term], abs=ROUNDING)
            missing = ours.keys() ^ theirs.keys()
            assert len(missing) <= max(2, len(theirs) // 10)


def test_an_index_made_on_a_gpu_answers_as_one_of_the_cpu(
    tiny_sparse: Path, tiny_dense: Path, tmp_path: Path
) -> None:
    settings = Settings(dense_model=str(tiny_dense), sparse_model=str(tiny_sparse))
    documents = [Document(str(i), text) for i, text in enumerate(texts(400, 4)) if text]
    found = {}
    for device in ("cuda", "cpu"):
        with Engine.create(tmp_path / device, settings, device=device) as engine:
            engine.add(documents)
            assert engine.verify() == []
            found[device] = {
                hit.id: hit.score for hit in engine.search(documents[7].text, k=5, retriever="bm25")
            }
            dense = [hit.id for hit in engine.search(documents[7].text, k=1, retriever="dense")]
            assert dense == [documents[7].id]
    assert found["cuda"] == found["cpu"]


def test_too_little_memory_on_the_gpu_makes_batches_smaller(
    tiny_dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    whole = Network._hidden

    def short_of_memory(self: Network, worker: int, tokens: list[object], types: object) -> object:
        tried.append(len(tokens))
        if len(tokens) > 50:
            torch.empty(1 << 46, device="cuda")
        return whole(self, worker, tokens, types)  # type: ignore[arg-type]

    some = texts(200, 5)
    expected = DenseEncoder(tiny_dense, "cuda").encode_document(some)
    monkeypatch.setattr(Network, "_hidden", short_of_memory)
    found = DenseEncoder(tiny_dense, "cuda").encode_document(some)
    assert max(tried) > 50
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_training_learns_and_goes_on_where_it_was_cut(
    tiny_sparse: Path, tiny_dense: Path, tmp_path: Path, kind: str
) -> None:
    def model() -> TrainableSparse | TrainableDense:
        if kind == "sparse":
            return TrainableSparse(tiny_sparse, 48, "cuda")
        return TrainableDense(tiny_dense, 48, "cuda")

    queries, documents = texts(9, 6)[1:], texts(33, 7)[1:]
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(8, 32)).astype(np.float32)
    batch = Batch(queries, documents, teacher)
    settings = TrainingSettings(steps=40, learning_rate=3e-3, checkpoint_every=10, flops=0.0)

    def run(folder: Path, most: int) -> list[float]:
        losses: list[float] = []

        def report(values: dict[str, float]) -> None:
            losses.append(values["loss"])
            if len(losses) == most:
                raise KeyboardInterrupt

        folder.mkdir(exist_ok=True)
        learner = model()
        with contextlib.suppress(KeyboardInterrupt):
            train(
                learner, lambda _: batch, objectives.ranking(learner, settings), settings,
                folder, report=report,
            )  # fmt: skip
        return losses

    whole = run(tmp_path / "whole", 1000)
    assert len(whole) == 40
    assert whole[-1] < whole[0] * 0.9
    cut = run(tmp_path / "cut", 20)
    rest = run(tmp_path / "cut", 1000)
    assert len(cut) == 20
    assert 20 <= len(rest) < 40  # from a checkpoint on
    assert rest[-1] == pytest.approx(whole[-1], rel=0.1)


def test_a_gradient_on_the_gpu_is_that_of_the_cpu(tiny_sparse: Path) -> None:
    found = {}
    for device in ("cuda", "cpu"):
        model = TrainableSparse(tiny_sparse, 48, device)
        weights = model.encode(texts(12, 8), query=False)
        weights.square().sum().backward()
        found[device] = weights.detach().cpu().numpy(), model.bias.grad.cpu().numpy()  # type: ignore[union-attr]
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert cosine(ours, theirs) > 0.99


def test_numbers_do_not_depend_on_the_batch_by_more_than_rounding(tiny_dense: Path) -> None:
    some = texts(40, 9)
    encoder = DenseEncoder(tiny_dense, "cuda")
    one_by_one = np.vstack([encoder.encode_document([text]) for text in some])
    np.testing.assert_allclose(encoder.encode_document(some), one_by_one, atol=ROUNDING)
