"""One step of a training, recorded on a GPU and played again: its hundreds of small kernels are then one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["Replay"]

# Steps before the recording, in which libraries choose their kernels.
BEFORE = 3


class Replay:
    """Calls `compute`; on a CUDA device it is recorded after a few calls, and the recording is played from then on.

    `compute` must read what changes from tensors that stay in place, and must not look at a value on the way.
    """

    def __init__(self, compute: Callable[[], None], device: torch.device) -> None:
        self._compute, self._recorded = compute, device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    def __call__(self) -> None:
        if not self._recorded:
            self._compute()
        elif self._graph is not None:
            self._graph.replay()
        elif self._calls < BEFORE:
            self._calls += 1
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._compute()
            torch.cuda.current_stream().wait_stream(aside)
        else:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._compute()
            self._graph.replay()
