"""LiVeAction's checkpoints of images, of the package livecodec.

D. Jacobellis and N. Yadwadkar, "LiVeAction", 2025. Coefficients are companded by a power before the encoder, and the
encoder's answers by the distribution function of a Laplace distribution; these are rounded. The decoder takes them as
they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import ArtifactError
from latentstore.foreign.attention import AttentionStage
from latentstore.foreign.checkpoint import read_checkpoint
from latentstore.foreign.codec import MOST, ForeignCodec, Shape, limited, weigh, without_filters
from latentstore.foreign.factorized import FactorizedBlock, FactorizedConv

__all__ = ["LiveCodec"]

POWER, OFFSET, GAIN = 0.4, 0.1, 12.8
LARGEST = 127
LEAST_SIGMA = 1e-6
LONGEST_REDUCTION = 2 ** MOST["levels"]


class _Laplace(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.empty(channels))


class _Networks(nn.Module):
    def __init__(self, shape: Shape, encoder_blocks: nn.Module, decoder_blocks: nn.Module) -> None:
        super().__init__()
        self.encoder_blocks, self.decoder_blocks = encoder_blocks, decoder_blocks
        self.conv_down = FactorizedConv(shape.bands, shape.channels, 1)
        self.conv_up = FactorizedConv(shape.channels, shape.bands, 1)
        self.quantize = nn.ModuleDict({"compand": _Laplace(shape.channels)})


class LiveCodec(ForeignCodec):
    """See `ForeignCodec`."""

    package = "livecodec"
    weights = "state_dict"
    decoder = ("conv_up.", "decoder_blocks.")

    def __init__(self, path: Path) -> None:
        found = read_checkpoint(path, self.weights)
        config = getattr(found.values.get("config"), "__dict__", None)
        if config is None:
            raise ArtifactError(f"{path} holds no configuration under 'config': it is not a checkpoint of livecodec.")
        reduction = config.get("F")
        if not whole(reduction, 2, LONGEST_REDUCTION) or reduction & (reduction - 1):
            raise ArtifactError(f"{path}: F is {short(reduction)}, not a power of two from 2 to {LONGEST_REDUCTION}.")
        shape = Shape(
            limited(config, "input_channels", "input_channels", path),
            reduction.bit_length() - 1,
            limited(config, "latent_dim", "channels", path),
        )
        state = without_filters(found.weights, path)
        networks = weigh(
            lambda: _Networks(
                shape,
                _blocks("encoder_blocks", config.get("lightweight_encode"), shape.bands, state, path),
                _blocks("decoder_blocks", config.get("lightweight_decode"), shape.bands, state, path),
            ),
            state,
            path,
        )
        super().__init__(path, shape, networks)

    def to_latents(self, images: torch.Tensor) -> torch.Tensor:
        networks: Any = self.networks
        bands = self.packets.analysis(images / 127.5 - 1, self._shape.levels)
        companded = bands.sign() * ((bands.abs() + OFFSET) ** POWER - OFFSET**POWER)
        answer = networks.conv_down(networks.encoder_blocks(GAIN * companded))
        sigma = networks.quantize["compand"].sigma.clamp(min=LEAST_SIGMA)[:, None, None]
        # 254 * F - 127, with F the distribution function
        return -LARGEST * answer.sign() * torch.expm1(-answer.abs() / sigma)

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        networks: Any = self.networks
        answer = networks.decoder_blocks(networks.conv_up(latents)) / GAIN
        bands = answer.sign() * ((answer.abs() + OFFSET**POWER) ** (1 / POWER) - OFFSET)
        return 127.5 * (self.packets.synthesis(bands, self._shape.levels) + 1)


def _blocks(name: str, lightweight: object, width: int, state: Mapping[str, torch.Tensor], path: Path) -> nn.Module:
    """The blocks of one side, as many as there are weights of: a configuration need not say how many were trained."""
    if not isinstance(lightweight, bool):
        raise ArtifactError(f"{path}: whether its {name} are lightweight is {short(lightweight)}, not true or false.")
    pattern = re.compile(rf"{name}\.(?:blocks\.)?(\d{{1,4}})\.")
    depth = 1 + max((int(match[1]) for key in state if (match := pattern.match(key))), default=-1)
    if depth > MOST["depth"]:
        raise ArtifactError(f"{path} has {depth} {name}; at most {MOST['depth']} are read.")
    if not lightweight:
        return AttentionStage(width, depth)
    first = state.get(f"{name}.0.conv1.conv1.weight")
    kernel = 3 if first is None or first.ndim != 4 else int(first.shape[-1])
    return nn.Sequential(*(FactorizedBlock(width, kernel) for _ in range(depth)))
