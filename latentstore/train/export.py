"""From trained weights to a decoder file, and what a decoder gains on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.decoder import DecoderFile, NetworkShape, make_decoder
from latentstore.codecs.artifact.folded import FoldedShape
from latentstore.codecs.codec import Codec
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import Decoder

__all__ = ["decoder_bytes", "floats_of", "gains", "integers_of", "weights_of"]


def decoder_bytes(
    codec: Codec,
    name: str,
    shape: NetworkShape | FoldedShape,
    tensors: Mapping[str, Array],
    prefixes: Sequence[int],
    qualities: Sequence[int],
    card: dict[str, Any],
) -> bytes:
    """The bytes of a decoder file.

    tensors: as `integers_of` or `floats_of` makes them. prefixes, qualities: the numbers of channels and the qualities
    that it was trained on.
    """
    facts = {
        "name": name,
        "codec": codec.name,
        "codec_sha256": codec.sha256,
        "network": {key: list(value) if key == "bands" else value for key, value in asdict(shape).items()},
        "prefixes": [min(prefixes), max(prefixes)],
        "qualities": [min(qualities), max(qualities)],
        "default_step": codec.step(),
        "card": card,
    }
    return make_decoder(facts, tensors)


def integers_of(weights: Mapping[str, torch.Tensor], ranges: torch.Tensor) -> dict[str, Array]:
    """The tensors of a `Refinement` for its file: weights are rounded to 8 bits in a scale for each output.

    ranges: see `Refinement.ranges`.
    """
    tensors: dict[str, Array] = {"ranges": ranges.float().cpu().numpy()}
    for key, value in weights.items():
        array = _array(value)
        if key.endswith(".weight"):
            largest = np.abs(array).max((1, 2, 3), keepdims=True)
            scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            tensors[key] = np.rint(array / scale).astype(np.int8)
            tensors[key.removesuffix("weight") + "scale"] = scale.ravel()
        else:
            tensors[key] = array
    return tensors


def weights_of(file: DecoderFile) -> dict[str, torch.Tensor]:
    """The weights of a `Refinement` that a file was made of, as far as it holds them: see `integers_of`."""
    weights = {}
    for key, value in file.tensors.items():
        if key.endswith(".weight"):
            scale = file.tensors[key.removesuffix("weight") + "scale"]
            value = value * scale[:, None, None, None]
        if not key.endswith((".scale", "ranges")):
            weights[key] = torch.from_numpy(np.array(value, np.float32))
    return weights


def floats_of(weights: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """The tensors of a `FoldedRefinement` for its file: weights are rounded to float16."""
    arrays = {key: _array(value) for key, value in weights.items()}
    return {key: array.astype(np.float16 if key.endswith(".weight") else np.float32) for key, array in arrays.items()}


def _array(value: torch.Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = value.detach().float().cpu().contiguous().numpy()
    return array


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
