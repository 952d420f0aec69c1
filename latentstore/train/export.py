"""From trained weights to a decoder file, and what a decoder gains on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.decoder import NetworkShape, make_decoder
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import Decoder

__all__ = ["decoder_bytes", "gains"]


def decoder_bytes(
    codec: ImageCodec,
    name: str,
    shape: NetworkShape,
    weights: Mapping[str, torch.Tensor],
    ranges: torch.Tensor,
    prefixes: Sequence[int],
    qualities: Sequence[int],
    card: dict[str, Any],
) -> bytes:
    """The bytes of a decoder file. Weights are rounded to 8 bits in a scale for each output.

    weights: of a `Refinement`. ranges: see `Refinement.ranges`. prefixes, qualities: the numbers of channels and the
    qualities that it was trained on.
    """
    facts = {
        "name": name,
        "codec": codec.name,
        "codec_sha256": codec.sha256,
        "network": shape.__dict__,
        "prefixes": [min(prefixes), max(prefixes)],
        "qualities": [min(qualities), max(qualities)],
        "default_step": codec.step(),
        "card": card,
    }
    tensors = {"ranges": ranges.float().cpu().numpy()}
    for key, value in weights.items():
        array = value.detach().float().cpu().contiguous().numpy()
        if key.endswith(".weight"):
            largest = np.abs(array).max((1, 2, 3), keepdims=True)
            scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            tensors[key] = np.rint(array / scale).astype(np.int8)
            tensors[key.removesuffix("weight") + "scale"] = scale.ravel()
        else:
            tensors[key] = array
    return make_decoder(facts, tensors)


def gains(
    codec: ImageCodec,
    decoder: Decoder,
    images: Sequence[npt.NDArray[np.uint8]],
    prefixes: Sequence[int],
    quality: int | None = None,
) -> dict[int, float]:
    """By number of channels: how many dB of PSNR the decoder gains over the linear one, the mean over the images."""
    found: dict[int, list[float]] = {kept: [] for kept in prefixes}
    for image in images:
        latents = codec.encode(image[None], quality)
        for kept, values in found.items():
            size = image.shape[:2]
            pair = [
                codec.decode(latents, kept, quality, size, which)[0].astype(np.float32) - image
                for which in ("linear", decoder)
            ]
            errors = [max(float(np.square(difference).mean()), 1e-3) for difference in pair]
            values.append(10 * float(np.log10(errors[0] / errors[1])))
    return {kept: float(np.mean(values)) for kept, values in found.items()}
