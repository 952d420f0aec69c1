"""Curves of rate and distortion: every codec at several settings, means over all images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from latentstore.evaluate.bd_rate import bd_rate
from latentstore.evaluate.images.metrics import psnr, similarity
from latentstore.evaluate.images.peers import ImagePeer
from latentstore.evaluate.scores import Setting

if TYPE_CHECKING:
    from latentstore.codecs.image.codec import ImageCodec

__all__ = ["REFERENCE", "Curve", "CurveMeter", "CurvePoint", "decibels"]

Uint8s = npt.NDArray[np.uint8]

QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
REFERENCE = "JPEG"
# An exact copy has no PSNR; it counts as this.
MOST_PSNR = 99.0


@dataclass(frozen=True)
class CurvePoint:
    """One codec at one setting: means over the images.

    ms_ssim, ssim: of images that are large enough; NaN without any. encode_mp_s, decode_mp_s: millions of pixels a
    second, one thread.
    """

    setting: str
    bits_per_pixel: float
    psnr: float
    ssim: float
    ms_ssim: float
    encode_mp_s: float
    decode_mp_s: float


@dataclass(frozen=True)
class Curve:
    """One codec at several settings.

    said: its settings, in words. bd_psnr, bd_ms_ssim: per cent of bits more than JPEG takes at equal PSNR, or at equal
    MS-SSIM in decibels; None where the curves have nothing in common.
    """

    codec: str
    said: str
    points: list[CurvePoint]
    bd_psnr: float | None
    bd_ms_ssim: float | None


def decibels(similarity: float) -> float:
    """-10 log10(1 - similarity): a scale on which SSIM and MS-SSIM of good images can be told apart."""
    return float(-10 * np.log10(1 - similarity)) if similarity < 1 else float("inf")


Coding = Callable[[Uint8s], tuple[int, Uint8s, float, float]]
"""From an image to bytes, the decoded image, and the seconds that encoding and decoding took."""


class CurveMeter:
    """Measures the curves of our codec and of its peers, image by image."""

    def __init__(self, setting: Setting, peers: Mapping[str, ImagePeer]) -> None:
        self._peers = dict(peers)
        self._ours = setting.codec.name
        self._codings: dict[tuple[str, str], Coding] = {
            (self._ours, f"quality {quality}"): _our_coding(setting, quality) for quality in QUALITIES
        }
        for name, peer in peers.items():
            for level in peer.curve:
                self._codings[name, peer.setting(level)] = _peer_coding(peer, level)
        self._said = {self._ours: setting.said, **{name: peer.said for name, peer in peers.items()}}
        self.steps = len(self._codings)
        self._rows: dict[tuple[str, str], list[tuple[float, ...]]] = {key: [] for key in self._codings}

    def add(self, image: Uint8s, advance: Callable[[int], None]) -> None:
        """Measures an image uint8 (H, W, C). A codec for which it is too large has no curve from now on.

        advance: is told of every setting that is measured, `steps` in all.
        """
        for name in [name for name, peer in self._peers.items() if not peer.takes(image)]:
            del self._peers[name]
            for key in [key for key in self._codings if key[0] == name]:
                del self._codings[key], self._rows[key]
        pixels = image.shape[0] * image.shape[1]
        for key, coding in self._codings.items():
            size, decoded, encoding, decoding = coding(image)
            quality = min(psnr(image[None], decoded[None]), MOST_PSNR), *similarity(image, decoded)
            self._rows[key].append((8 * size / pixels, *quality, pixels, encoding, decoding))
            advance(1)
        advance(self.steps - len(self._codings))

    def curves(self) -> list[Curve]:
        """The curves, ours first; none before the first image."""
        points: dict[str, list[CurvePoint]] = {}
        for (codec, setting), rows in self._rows.items():
            if rows:
                points.setdefault(codec, []).append(_point(setting, np.array(rows)))
        reference = points.get(REFERENCE, [])
        return [
            Curve(
                codec,
                self._said[codec],
                found,
                bd_rate(_rates(found, "psnr"), _rates(reference, "psnr")),
                bd_rate(_rates(found, "ms_ssim"), _rates(reference, "ms_ssim")),
            )
            for codec, found in points.items()
        ]


def _our_coding(setting: Setting, quality: int) -> Coding:
    codec = cast("ImageCodec", setting.codec)

    def run(image: Uint8s) -> tuple[int, Uint8s, float, float]:
        start = time.perf_counter()
        groups = codec.compress_counted(image, quality).groups
        blob = codec.join_groups(groups, image.shape[0], image.shape[1])
        encoded = time.perf_counter()
        size = setting.fetched(blob, groups)
        decoded = codec.decompress(memoryview(blob)[:size], setting.channels, setting.decoder)
        return size, decoded, encoded - start, time.perf_counter() - encoded

    return run


def _peer_coding(peer: ImagePeer, level: int) -> Coding:
    def run(image: Uint8s) -> tuple[int, Uint8s, float, float]:
        start = time.perf_counter()
        data = peer.encode(image, level)
        encoded = time.perf_counter()
        decoded = peer.decode(data, image.shape[2])
        return len(data), decoded, encoded - start, time.perf_counter() - encoded

    return run


def _point(setting: str, rows: npt.NDArray[np.float64]) -> CurvePoint:
    pixels, *seconds = rows[:, 4:].sum(0)
    means = [_mean(column) for column in rows[:, :4].T]
    return CurvePoint(setting, *means, *(float(pixels / spent / 1e6) for spent in seconds))


def _mean(values: npt.NDArray[np.float64]) -> float:
    """The mean of what is a number: small images have no SSIM, with any codec."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _rates(points: list[CurvePoint], figure: str) -> list[tuple[float, float]]:
    if figure == "psnr":
        return [(point.bits_per_pixel, point.psnr) for point in points]
    return [(point.bits_per_pixel, decibels(point.ms_ssim)) for point in points]
