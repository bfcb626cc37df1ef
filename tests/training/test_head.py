"""The sparse head with a gradient, against the definition that holds all logits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from searchlib.encoders.native import PositiveLogits, best_kernel  # noqa: E402
from searchlib.training import head, losses  # noqa: E402
from searchlib.training.head import Rows, pooled, winners, winners_together  # noqa: E402


def test_weights_and_gradients_equal_those_of_all_logits() -> None:
    torch.manual_seed(3)
    flat = torch.randn(9, 16, requires_grad=True)  # two texts of 5 and 3 tokens, one of padding
    weight = torch.randn(40, 16, requires_grad=True)
    bias = torch.randn(40, requires_grad=True)
    share = torch.rand(2, 40)

    def gradients(weights: object) -> list[object]:
        return list(torch.autograd.grad((weights * share).sum(), (flat, weight, bias)))

    ours = pooled(Rows(flat, [0, 5], [5, 3]), weight, bias)
    logits = flat @ weight.T + bias
    all_logits = torch.stack([logits[0:5].amax(0), logits[5:8].amax(0)]).relu().log1p()
    assert (ours > 0).any()
    assert (ours == 0).any()
    torch.testing.assert_close(ours, all_logits, rtol=1e-4, atol=1e-5)
    for found, expected in zip(gradients(ours), gradients(all_logits), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_winners_found_together_are_those_found_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    monkeypatch.setattr(head, "_TILE", 100)  # several tiles
    rows = Rows(torch.randn(12, 8), [0, 4, 9], [4, 3, 1])  # padding after the second and third
    weight, bias = torch.randn(30, 8), torch.randn(30) - 2
    texts, terms, places = winners_together(rows, weight, bias)
    found = sorted(zip(texts.tolist(), terms.tolist(), places.tolist(), strict=True))
    logits = PositiveLogits(weight.numpy(), bias.numpy(), best_kernel())
    expected = []
    for text, start in enumerate(rows.starts):
        own, at = winners(rows.of(text), weight, logits)
        pairs = zip(own.tolist(), at.tolist(), strict=True)
        expected += [(text, term, start + place) for term, place in pairs]
    assert found == sorted(expected)
    assert len(found) > 10


def test_losses_by_hand() -> None:
    teacher = torch.tensor([[2.0, 0.0]])
    assert float(losses.divergence(teacher / 0.5, teacher, 0.5)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.divergence(torch.zeros(1, 2), teacher)) == pytest.approx(0.3271, abs=1e-3)
    positives = torch.tensor([[True, False]])
    assert float(losses.contrast(torch.zeros(1, 2), positives)) == pytest.approx(0.6931, abs=1e-4)
    assert float(losses.flops(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))) == pytest.approx(1.25)
    assert [losses.quadratic_ramp(step, 10) for step in (0, 5, 20)] == [0.0, 0.25, 1.0]
