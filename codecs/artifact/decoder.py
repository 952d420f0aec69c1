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
from latentstore.codecs.artifact.folded import FoldedShape, problem_of_folded
from latentstore.codecs.errors import ArtifactError

__all__ = ["DecoderFile", "NetworkShape", "make_decoder", "read_decoder"]

DECODER_VERSION = 1
METADATA_KEY = "latentstore_decoder"
# Bounds of what a file may ask for, far above what is trained.
MOST = {"channels": 1024, "planes": 192, "width": 512, "blocks": 32, "head": 512}


@dataclass(frozen=True)
class NetworkShape:
    """channels: of the latent. planes: 64 for every colour. width, blocks, head: see `codecs.neural.network`."""

    channels: int
    planes: int
    width: int
    blocks: int
    head: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the network's tensors by name."""
        found: dict[str, tuple[int, ...]] = {"sigma": (self.channels,), "deviation": (self.planes,)}
        layers = {"first": (self.width, 2 * self.channels + 2, 3)}
        for block in range(self.blocks):
            layers |= {f"blocks.{block}.{part}": (self.width, self.width, 3) for part in "ab"}
        layers |= {"head": (self.head, self.width, 3), "last": (self.planes, self.head, 1)}
        for name, (outputs, inputs, side) in layers.items():
            found |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
        return found

    @property
    def operations(self) -> int:
        """Multiplications with addition for one position of the latent, 8 x 8 pixels."""
        return sum(int(np.prod(shape)) for name, shape in self.tensors().items() if name.endswith(".weight"))


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
    problem = _problem_of_facts(facts) or _problem_of_tensors(_tensors_of(facts["network"]), tensors)
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


def _tensors_of(network: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return FoldedShape.of(network).tensors() if _is_folded(network) else NetworkShape(**network).tensors()


def _problem_of_network(network: dict[str, Any]) -> str | None:
    if set(network) != set(MOST):
        return f"network is {short(network)}, not an object of {', '.join(MOST)}"
    for key, most in MOST.items():
        if not whole(network[key], 0 if key == "blocks" else 1, most):
            return f"{key} of its network is {short(network[key])}, not a whole number to {most}"
    return f"{network['planes']} planes are no multiple of 64" if network["planes"] % 64 else None


def _problem_of_tensors(shapes: dict[str, tuple[int, ...]], tensors: dict[str, Array]) -> str | None:
    if set(tensors) != set(shapes):
        return f"tensors are missing or not expected: {short(sorted(set(tensors) ^ set(shapes)))}"
    for name, expected in shapes.items():
        tensor = tensors[name]
        if tensor.dtype not in (np.float16, np.float32) or tensor.shape != expected:
            return f"{name} is {tensor.dtype} {tensor.shape}, not float16 or float32 {expected}"
        if not np.isfinite(tensor).all():
            return f"{name} holds values that are not finite"
    return "sigma is not positive" if "sigma" in tensors and (tensors["sigma"] <= 0).any() else None
