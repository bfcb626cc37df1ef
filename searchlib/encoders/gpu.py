"""How GPUs compute: in fp16, which has more digits than bf16, while nothing overflows in it; with
attention that needs no plan for each shape of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


@contextmanager
def planless_attention() -> Iterator[None]:
    """Keep torch from cuDNN's attention within the block, in the whole process.

    It plans anew for each shape (some 0.1 s; the other kernels nothing), and texts come in all
    lengths: on an H100 a fourth of the speed and 12 s at the first batches.
    """
    if not hasattr(torch.backends.cuda, "enable_cudnn_sdp"):  # before torch 2.5
        yield
        return
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


class Half:
    """Runs a network in fp16; from the first batch that overflows there, in bf16 or fp32.

    Some networks have activations beyond fp16's 65,504; bf16 reaches as far as fp32 and has 3
    bits less. For several threads.
    """

    def __init__(self, device: str = "cuda") -> None:
        self._device = device
        self.kind: torch.dtype | None = torch.float16

    def run(self, network: Callable[[], Tensor], work: Callable[[Tensor], Result]) -> Result:
        """`work` of what `network` computes, its hidden rows (B, T, dim)."""
        while True:
            kind = self.kind
            with torch.autocast(self._device, dtype=kind, enabled=kind is not None):
                hidden = network()
            if kind is not torch.float16:
                return work(hidden)
            fine = torch.isfinite(hidden).all()
            result = work(hidden)  # subtle: before `fine` is read, which waits for the GPU
            if fine:
                return result
            self.kind = torch.bfloat16 if torch.cuda.is_bf16_supported() else None
