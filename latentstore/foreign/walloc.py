"""WaLLoC's checkpoints of images: a linear encoder, or a network, and a network that decodes.

D. Jacobellis and N. Yadwadkar, "Learned compression for compressed learning", 2024. A latent is uniform: the encoder's
answer passes through the distribution function of a normal distribution, and is rounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.foreign.autoencoder import Autoencoder
from latentstore.foreign.checkpoint import read_checkpoint
from latentstore.foreign.codec import ForeignCodec, Shape, limited, weigh, without_filters

__all__ = ["Walloc"]

MAX_JSON_BYTES = 1 << 20
# A uniform value this near to either end is decoded as if it stood here.
END = 1e-4
DEVIATIONS = 1.85
"""The largest code of the encoder's scale, in standard deviations."""


class _Networks(nn.Module):
    """encoder.0 and decoder.1, as the checkpoint names them."""

    def __init__(self, shape: Shape, encoder_width: int | None, decoder_width: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict()
        self.encoder["0"] = (
            nn.Conv2d(shape.bands, shape.channels, 1)
            if encoder_width is None
            else Autoencoder(shape.bands, shape.channels, encoder_width, decoder=False)
        )
        self.decoder = nn.ModuleDict({"1": Autoencoder(shape.channels, shape.bands, decoder_width, decoder=True)})


class Walloc(ForeignCodec):
    """See `ForeignCodec`. Latents have at most 8 bits, of which `bits` are used."""

    package = "walloc"
    weights = "model_state_dict"
    decoder = ("decoder.",)

    def __init__(self, path: Path) -> None:
        facts, where = _facts(path)
        shape = Shape(
            limited(facts, "channels", "input_channels", where),
            limited(facts, "J", "levels", where),
            limited(facts, "latent_dim", "channels", where),
        )
        bits, lightweight = facts.get("latent_bits"), facts.get("lightweight_encode")
        if not whole(bits, 2, 8):
            raise ArtifactError(f"{where}: latent_bits is {short(bits)}, not 2 to 8.")
        if not isinstance(lightweight, bool):
            raise ArtifactError(f"{where}: lightweight_encode is {short(lightweight)}, neither true nor false.")
        encoder_width = None if lightweight else limited(facts, "Ne", "width", where)
        decoder_width = limited(facts, "Nd", "width", where)
        largest = 2 ** (int(facts["latent_bits"]) - 1) - 1
        self._scale = largest / DEVIATIONS * math.sqrt(2)
        self._reach = 2 * (largest + 0.5 - 1e-3)
        state = without_filters(read_checkpoint(path, self.weights).weights, path)
        networks = weigh(lambda: _Networks(shape, encoder_width, decoder_width), state, path)
        super().__init__(path, shape, networks)

    def to_latents(self, images: torch.Tensor) -> torch.Tensor:
        networks: Any = self.networks
        bands = self.packets.analysis(images / 255 - 0.5, self._shape.levels)
        answer = networks.encoder["0"](bands)
        return self._reach / 2 * torch.erf(answer / self._scale)

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        networks: Any = self.networks
        share = (latents / self._reach + 0.5).clamp(END, 1 - END)
        normal = self._scale * torch.erfinv(2 * share - 1)
        bands = networks.decoder["1"](normal)
        return 255 * (self.packets.synthesis(bands, self._shape.levels) + 0.5)


def _facts(path: Path) -> tuple[Mapping[str, Any], Path]:
    """The configuration, which stands in a JSON file beside the checkpoint, and that file."""
    where = path.with_suffix(".json")
    try:
        with where.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise ArtifactError(f"{where} is larger than {MAX_JSON_BYTES} bytes: it is no configuration of WaLLoC.")
        facts = json.loads(content)
    except FileNotFoundError as error:
        raise ArgumentError(
            f"There is no {where}: the configuration of a WaLLoC checkpoint stands beside it, under its name and .json."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} cannot be read as JSON: {short(error)}.") from error
    if not isinstance(facts, dict):
        raise ArtifactError(f"{where} is no configuration of WaLLoC: it is not a JSON object.")
    if "post_filter" in facts:
        raise ArtifactError(f"{path} is a codec of audio: only WaLLoC's codecs of images are read.")
    return facts, where
