"""`Decoder`: what refines the linear synthesis of one codec; and where decoders come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.container import read_file
from latentstore.codecs.artifact.decoder import DecoderFile, read_decoder
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.network import Network

__all__ = ["BEST", "LINEAR", "SUFFIX", "Decoder", "load_decoder", "require_decoder", "shipped_decoders"]

BEST = "best"
"""Asks for the shipped decoder of a codec that gains most; for a codec that has none it is "linear"."""
LINEAR = "linear"
"""The name of the codec's own synthesis, which is no network."""
_BY_GAIN = ("large", "small")
SUFFIX = ".safetensors"
# Positions of a latent along a side that are refined at once: bounds the memory, and changes no value.
TILE = 128

_SHIPPED = Path(__file__).parent / "trained"

Floats = npt.NDArray[np.float32]


class Decoder:
    """A network that refines what one codec decodes. `load_decoder` makes one. Several threads may use it at once.

    name, sha256 (hexadecimal), card: which decoder it is, and what it says of itself. codec, codec_sha256: the name
    and the SHA-256 of the artifact that it belongs to. prefixes: the fewest and the most channels with which it is
    used. qualities: the lowest and the highest, of images. Outside of these the linear synthesis decodes.
    """

    def __init__(self, file: DecoderFile) -> None:
        facts = file.facts
        self.file, self.name, self.sha256 = file, file.name, file.sha256
        self.codec, self.codec_sha256 = str(facts["codec"]), str(facts["codec_sha256"])
        self.prefixes: tuple[int, int] = tuple(facts["prefixes"])
        self.qualities: tuple[int, int] = tuple(facts["qualities"])
        self.card: dict[str, Any] = dict(facts["card"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.codec} {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.file.content,)

    def serves(self, channels: int, quality: int) -> bool:
        """Whether it is used with so many channels, at this quality."""
        return self.prefixes[0] <= channels <= self.prefixes[1] and self.qualities[0] <= quality <= self.qualities[1]

    def refinement(self, latent: npt.NDArray[np.int8], step: float) -> Floats:
        """Of images, what to add to the planes of the linear synthesis: int8 (c, h, w) to float32 (planes, h, w).

        latent: the first c channels. step: the quantisation step of the quality at which it was encoded.
        """
        told = math.log2(step / self.file.facts["default_step"])
        height, width = latent.shape[1:]
        reach = self._network.reach
        out = np.empty((self.file.shape.planes, height, width), np.float32)
        for top, bottom in _spans(height):
            for left, right in _spans(width):
                # beyond the reach nothing has an influence; at the image's own edges the layers add zeros
                y, x = max(0, top - reach), max(0, left - reach)
                part = latent[:, y : bottom + reach, x : right + reach]
                planes = self._network.answer(part, told, step)
                out[:, top:bottom, left:right] = planes[:, top - y : bottom - y, left - x : right - x]
        return out

    @cached_property
    def _network(self) -> Network:
        return Network(self.file)


def _again(content: bytes) -> Decoder:
    """Unpickles a decoder."""
    return Decoder(read_decoder(content))


def _spans(length: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + TILE, length)) for start in range(0, length, TILE))


def load_decoder(path: str | Path) -> Decoder:
    """The decoder of a file. ArgumentError if there is no such file; ArtifactError if it is not a decoder."""
    return Decoder(read_decoder(read_file(path, "decoder"), str(path)))


def shipped_decoders(codec: str, codec_sha256: str) -> dict[str, Decoder]:
    """The decoders that come with the package, by name, of the codec of this name and SHA-256."""
    return {one.name: one for one in _shipped_of(codec) if one.codec_sha256 == codec_sha256}


@lru_cache(maxsize=64)
def _shipped_of(codec: str) -> tuple[Decoder, ...]:
    """Read by the names of their files, which begin with that of their codec: all of them would take long to read."""
    names = sorted(path.name for path in _SHIPPED.glob("*" + SUFFIX))
    return tuple(load_decoder(_SHIPPED / name) for name in names if name.startswith(codec + "."))


def require_decoder(decoder: str | Decoder, codec: str, codec_sha256: str) -> Decoder | None:
    """The decoder that is asked for, None for "linear". codec, codec_sha256: name and SHA-256 of the codec that asks.

    ArgumentError if the package ships no decoder of that name for this codec, or if the decoder is of another codec.
    """
    if isinstance(decoder, Decoder):
        if decoder.codec_sha256 != codec_sha256:
            raise ArgumentError(
                f"The decoder {decoder.name!r} belongs to {decoder.codec}, SHA-256 {decoder.codec_sha256[:12]}...; "
                f"this codec is {codec}, {codec_sha256[:12]}...: load its own decoder."
            )
        return decoder
    if decoder == LINEAR:
        return None
    shipped = shipped_decoders(codec, codec_sha256)
    if decoder == BEST:
        return next((shipped[name] for name in _BY_GAIN if name in shipped), None)
    if decoder not in shipped:
        raise ArgumentError(
            f"decoder is {decoder!r}; for {codec} it is one of {', '.join([BEST, LINEAR, *shipped])}, or what "
            "latentstore.load_decoder gives."
        )
    return shipped[decoder]
