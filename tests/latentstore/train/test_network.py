"""The network that is trained, in torch, answers as the one that decodes, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch_or_skip
from tiny_decoders import tiny_parts

from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.neural.network import Network
from latentstore.train.network import Refinement

torch = torch_or_skip.torch


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (13, 20), (40, 60)])
@pytest.mark.parametrize("kept", [12, 48])
def test_both_answer_alike(codec: Any, size: tuple[int, int], kept: int) -> None:
    """Up to the rounding of what goes from layer to layer, less than a thousandth of its range."""
    facts, tensors = tiny_parts(codec)
    file = read_decoder(make_decoder(facts, tensors))
    trained = Refinement(file.shape)
    weights = {k: v for k, v in file.tensors.items() if not k.endswith((".scale", "ranges"))}
    for name in file.shape.layers():
        weights[f"{name}.weight"] = weights[f"{name}.weight"] * file.tensors[f"{name}.scale"][:, None, None, None]
    trained.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in weights.items()})
    latent = np.random.default_rng(2).integers(-6, 7, (kept, *size)).astype(np.int8)
    codes = np.zeros((1, 48, *size), np.float32)
    codes[0, :kept] = latent
    given = torch.from_numpy(codes), torch.tensor([float(kept)]), torch.tensor([0.7])
    with torch.no_grad():
        expected = trained(*given)[0] * 40
    tensors["ranges"] = trained.ranges(*given).numpy() * np.float32(1.01)
    found = Network(read_decoder(make_decoder(facts, tensors))).answer(latent, 0.7, 40)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-2 * float(expected.std()))


def test_a_new_network_answers_zero(codec: Any) -> None:
    shape = read_decoder(make_decoder(*tiny_parts(codec))).shape
    with torch.no_grad():
        answer = Refinement(shape)(torch.ones(1, 48, 4, 5), torch.tensor([48.0]), torch.tensor([0.0]))
    assert answer.shape == (1, 192, 4, 5) and not answer.any()
