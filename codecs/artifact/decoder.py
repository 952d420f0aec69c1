"""Decoder files: the network that refines what one codec decodes (docs/learned/decoders.md).

A decoder belongs to the codec whose artifact has the SHA-256 that it names. Blobs and latents do not depend on it, so
it is a file of its own: a store that was written before the decoder was trained is decoded with it too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentstore.codecs.artifact.checks import number, short, whole
from latentstore.codecs.artifact.container import Array, pack, unpack
from latentstore.codecs.artifact.file import is_name
from latentstore.codecs.artifact.folded import FoldedShape, problem_of_floats, problem_of_folded
from latentstore.codecs.errors import ArtifactError

__all__ = ["CODE", "DecoderFile", "NetworkShape", "make_decoder", "read_decoder"]

DECODER_VERSION = 1
CODE = 8191
"""The largest magnitude of what goes from a layer to the next, as an integer."""
LARGEST = 1e6
METADATA_KEY = "latentstore_decoder"
# Bounds of what a file may ask for, far above what is trained.
MOST = {"channels": 1024, "planes": 768, "width": 512, "blocks": 32, "head": 512}


@dataclass(frozen=True)
class NetworkShape:
    """channels: of the latent. planes: 4**levels for every colour. width, blocks, head: see `neural.network`."""

    channels: int
    planes: int
    width: int
    blocks: int
    head: int

    def layers(self) -> dict[str, tuple[int, int, int]]:
        """Outputs, inputs and the side of the window of each convolution, in their order."""
        found = {"first": (self.width, 2 * self.channels + 2, 3)}
        for block in range(self.blocks):
            found |= {f"blocks.{block}.{part}": (self.width, self.width, 3) for part in "ab"}
        return found | {"head": (self.head, self.width, 3), "last": (self.planes, self.head, 1)}

    def tensors(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The shapes and dtypes of a file's tensors by name.

        A weight is an integer times the `scale` of its output. ranges: the largest magnitude of what goes from each
        layer to the next; see `codecs.neural.network`.
        """
        layers = self.layers()
        found: dict[str, tuple[tuple[int, ...], Any]] = {
            "sigma": ((self.channels,), np.float32),
            "deviation": ((self.planes,), np.float32),
            "ranges": ((len(layers) - 1,), np.float32),
        }
        for name, (outputs, inputs, side) in layers.items():
            found[f"{name}.weight"] = (outputs, inputs, side, side), np.int8
            found |= {f"{name}.{part}": ((outputs,), np.float32) for part in ("scale", "bias")}
        return found

    @property
    def operations(self) -> int:
        """Multiplications with addition for one position of the latent."""
        return sum(outputs * inputs * side * side for outputs, inputs, side in self.layers().values())


@dataclass(frozen=True)
class DecoderFile:
    """One decoder, parsed and checked.

    content: the bytes of the file. sha256: their hash. facts: the JSON. tensors: of the network, by name.
    """

    content: bytes = field(repr=False)
    sha256: str
    facts: dict[str, Any] = field(repr=False)
    tensors: dict[str, Array] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def shape(self) -> NetworkShape:
        """Of a decoder of images."""
        return NetworkShape(**self.facts["network"])

    @property
    def is_folded(self) -> bool:
        """Whether it is a decoder of audio."""
        return _is_folded(self.facts["network"])

    @property
    def folded(self) -> FoldedShape:
        """Of a decoder of audio."""
        return FoldedShape.of(self.facts["network"])


def make_decoder(facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The bytes of a decoder file; the same facts and tensors give the same bytes."""
    content = pack(METADATA_KEY, DECODER_VERSION, facts, tensors)
    read_decoder(content)
    return content


def read_decoder(content: bytes, where: str = "the decoder") -> DecoderFile:
    """Parses and checks a decoder file.

    ArtifactError says what is wrong in the file `where`; UnsupportedVersionError if a newer release wrote it.
    """
    content = bytes(content)
    facts, tensors = unpack(content, where, METADATA_KEY, DECODER_VERSION, "decoder")
    problem = _problem_of_facts(facts) or _problem_of_tensors(facts["network"], tensors)
    if problem:
        raise ArtifactError(f"{where} contradicts itself: {problem}; fetch it again or train it anew.")
    return DecoderFile(content, hashlib.sha256(content).hexdigest(), facts, tensors)


def _problem_of_facts(facts: dict[str, Any]) -> str | None:
    if not is_name(facts.get("name")) or facts["name"] == "linear":
        return "its name is not lower-case letters, digits, '.', '_' and '-', or it is 'linear'"
    if not is_name(facts.get("codec")) or not re.fullmatch("[0-9a-f]{64}", str(facts.get("codec_sha256"))):
        return "it does not say the name and the SHA-256 of its codec"
    network = facts.get("network")
    if not isinstance(network, dict):
        return f"network is {short(network)}, not an object"
    problem = problem_of_folded(network) if _is_folded(network) else _problem_of_network(network)
    if problem:
        return problem
    for key, most in (("prefixes", network["channels"]), ("qualities", 100)):
        pair = facts.get(key)
        if not isinstance(pair, list) or len(pair) != 2 or not all(whole(one, 1, most) for one in pair):
            return f"{key} is {short(pair)}, not two numbers from 1 to {most}"
    if number(facts.get("default_step"), 1e-6, 1e6) is None:
        return f"default_step is {short(facts.get('default_step'))}, not a number from 1e-6 to 1e6"
    return None if isinstance(facts.get("card"), dict) else "it has no card"


def _is_folded(network: Mapping[str, Any]) -> bool:
    return "bands" in network


def _problem_of_network(network: dict[str, Any]) -> str | None:
    if set(network) != set(MOST):
        return f"network is {short(network)}, not an object of {', '.join(MOST)}"
    for key, most in MOST.items():
        if not whole(network[key], 0 if key == "blocks" else 1, most):
            return f"{key} of its network is {short(network[key])}, not a whole number to {most}"
    return f"{network['planes']} planes are no multiple of 64" if network["planes"] % 64 else None


def _problem_of_tensors(network: dict[str, Any], tensors: dict[str, Array]) -> str | None:
    shape = FoldedShape.of(network) if _is_folded(network) else NetworkShape(**network)
    differing = set(tensors) ^ set(shape.tensors())
    if differing:
        return f"tensors are missing or not expected: {short(sorted(differing))}"
    return problem_of_floats(shape, tensors) if isinstance(shape, FoldedShape) else _problem_of_integers(shape, tensors)


def _problem_of_integers(shape: NetworkShape, tensors: dict[str, Array]) -> str | None:
    for name, (expected, dtype) in shape.tensors().items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != expected:
            return f"{name} is {tensor.dtype} {tensor.shape}, not {np.dtype(dtype)} {expected}"
        if dtype == np.float32 and not (np.abs(tensor) <= LARGEST).all():
            return f"{name} holds values that are not finite, or above {LARGEST:g}"
        if name in ("sigma", "ranges") and not (tensor >= 1 / LARGEST).all():
            return f"{name} is not positive"
    for name in shape.layers():
        total = np.abs(tensors[f"{name}.weight"].astype(np.int64)).sum((1, 2, 3)).max()
        if total * CODE >= 1 << 31:
            return f"the sums of the layer {name} do not fit 32 bits"
    return None
