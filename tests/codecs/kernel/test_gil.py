"""The kernel codes without the interpreter's lock, so that Python's threads run at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.native import kernel
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import split_frames

pytestmark = pytest.mark.skipif(kernel is None, reason="the reference holds the lock")

TRIES = 100


@pytest.fixture
def no_switching() -> Iterator[None]:
    """Python takes the lock from no thread that does not give it up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def calls(codec: Any) -> dict[str, Callable[[], Any]]:
    """Functions of the kernel on inputs that take them tens of milliseconds at least."""
    x = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3)).astype(np.uint8)
    scale = codec.scale(60)
    analysis, synthesis = codec._analysis, codec._synthesis
    coefficients = np.empty(codec.latent_shape(2048, 2048), np.float32)
    tables = (analysis.levels, x, analysis.basis, analysis.runs, analysis.weights, (1 / scale).astype(np.float32))
    kernel.image_to_coefs(*tables, coefficients)
    latent = np.clip(np.rint(coefficients), -127, 127).astype(np.int8)
    group = np.ascontiguousarray(latent[:12])
    blob = kernel.coder_encode(codec.entropy._coder, 0, 60, group)
    place, none, length = np.empty_like(group)[None], np.zeros(1, np.int64), np.array([len(blob)])
    weight, deltas = np.ones(12, np.float32), np.ascontiguousarray(codec._delta[:12])
    steps = [np.ascontiguousarray(codec._delta[:, i]) for i in (0, 1)]
    nothing = np.zeros((0, *latent.shape[1:]), np.float32)
    back = (synthesis.starts, synthesis.channel_list, synthesis.weights, synthesis.assembly, scale, *steps, nothing)
    first = np.ascontiguousarray(coefficients[:12])
    coder = codec.entropy._coder
    return {
        "image_to_coefs": lambda: kernel.image_to_coefs(*tables, coefficients),
        "coder_optimise": lambda: kernel.coder_optimise(coder, 0, first, weight, 0.1, deltas, np.empty_like(group)),
        "coder_encode": lambda: kernel.coder_encode(coder, 0, 60, group),
        "coder_decode": lambda: kernel.coder_decode(coder, [blob], none.astype(np.int32), none, length, place),
        "latent_to_image": lambda: kernel.latent_to_image(synthesis.levels, latent, *back, x),
    }


def calls_for_tensors() -> dict[str, Callable[[], Any]]:
    array = np.random.default_rng(0).normal(size=(64, 256, 256)).astype(np.float32)
    coder = TensorCoder.fit(Tensor("float32"), [array[:, :8]])
    blobs = Blobs.whole(coder.encode([array]))
    return {
        "tokens_encode": lambda: coder.encode([array]),
        "tokens_decode": lambda: coder.decode_into(blobs, [array]),
        "tensor_frames": lambda: split_frames(blobs, "lossless", bytes.fromhex(coder.sha256)),
    }


def runs_meanwhile(call: Callable[[], Any]) -> bool:
    """Whether this thread ran while another one was in `call`: only if that gave the lock up on the way."""
    order: list[str] = []

    def work() -> None:
        order.append("begin")
        call()
        order.append("end")

    thread = threading.Thread(target=work)
    thread.start()
    order.append("here")
    thread.join()
    return order.index("here") < order.index("end")


def test_other_threads_run_while_the_kernel_works(codec: Any, no_switching: None) -> None:
    for name, call in (calls(codec) | calls_for_tensors()).items():
        # A busy machine may not let this thread run before the call ends, though it could.
        assert any(runs_meanwhile(call) for _ in range(TRIES)), name
