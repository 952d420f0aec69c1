"""Trained decoders beside the linear one on Kodak: what they gain at prefixes of the channels, BD-rates, and speed.

One thread. The blobs are the same for all decoders. A gain is the mean over the images of the difference in PSNR.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import time
from typing import Any

import numpy as np

from benchmarks.images.rate_distortion import QUALITIES, measure
from benchmarks.support import peers
from latentstore.evaluate.bd_rate import Point, bd_rate

PREFIXES = (12, 24, 48)
# Mean over the prefixes at the default quality, in dB; BD-rate against JPEG, in per cent of bits; and megapixels a
# second on one thread of a machine that does nothing else.
BARS = {"small": (0.4, -42.0, 3.0), "large": (0.6, -43.0, 0.5)}
# Codecs, bits a pixel that may be spent on all channels, and what "small" must reach there, in dB.
LOW = (
    ("rgb-f16c48", 0.0433, 23.9),
    ("rgb-f16c48", 0.0805, 25.3),
    ("rgb-f8c48", 0.0805, 25.3),
    ("rgb-f8c48", 0.15, 27.05),
)
# Images of which the speed is measured.
TIMED = 4


def main() -> None:
    import latentstore
    from latentstore.codecs.neural.decoder import shipped_decoders

    common.header("Decoders of images on Kodak, one thread")
    codec = latentstore.load_codec(common.CODEC)
    images = common.kodak()
    decoders = shipped_decoders(codec.name, codec.sha256)
    for name, decoder in decoders.items():
        multiplications = decoder.file.shape.operations / codec.reduction**2
        print(f"{name}: {multiplications:,.0f} multiplications a pixel, {decoder.card['trained on']}")
    names = ["linear", *decoders]

    rows: list[tuple[object, ...]] = []
    default: dict[str, list[float]] = {name: [] for name in decoders}
    curves: dict[str, list[Point]] = {name: [] for name in names}
    for quality in sorted({*QUALITIES, codec.default_quality}):
        blobs = [codec.compress(image, quality) for image in images]
        bits = _bits(codec, images, quality)
        shown = quality in (10, 30, codec.default_quality, 70)
        for kept in PREFIXES if shown else (codec.channels,):
            found = {name: _decibels(codec, blobs, images, kept, name) for name in names}
            if kept == codec.channels:
                for name in names:
                    curves[name].append((bits, float(np.mean(found[name]))))
            cells = []
            for name in decoders:
                more = np.subtract(found[name], found["linear"])
                cells.append(f"{more.mean():+.3f} ({more.min():+.3f})")
                if quality == codec.default_quality:
                    default[name].append(float(more.mean()))
            if shown:
                rows.append((f"quality {quality}, {kept} channels", f"{np.mean(found['linear']):.2f}", *cells))
    common.table(["", "linear, dB", *(f"{name}, dB more (least)" for name in decoders)], rows)

    jpeg = next(iter(peers.CURVES.values()))
    reference = [measure(images, lambda image, q=q: jpeg.encode(image, q), jpeg.decode) for q in jpeg.qualities]
    rates = {name: bd_rate(curve, reference) for name, curve in curves.items()}
    print()
    common.table(["BD-rate against JPEG", "per cent of bits"], [(name, f"{rate:+.1f}") for name, rate in rates.items()])

    blobs = [codec.compress(image) for image in images[:TIMED]]
    seconds = common.race(
        {name: lambda name=name: [codec.decompress(blob, decoder=name) for blob in blobs] for name in names},
        clock=time.process_time,
    )
    pixels = sum(image.shape[0] * image.shape[1] for image in images[:TIMED]) / 1e6
    print()
    common.table(["decoder", "MP/s"], [(name, pixels / spent) for name, spent in seconds.items()])
    print()
    bars = common.Bars()
    low = [(*_at(images, name, most), least) for name, most, least in LOW]
    common.table(
        ["low rates", "quality", "bits a pixel", "linear, dB", "small, dB"],
        [
            (name, quality, f"{bits:.4f}", f"{linear:.2f}", f"{small:.2f}")
            for name, quality, bits, linear, small, _ in low
        ],
    )
    print()
    for name, _, bits, _, small, least in low:
        bars.at_least(f"{name}, small, {bits:.3f} bits a pixel: dB", small, least)
    for name, (gain, rate, speed) in BARS.items():
        bars.at_least(f"{name}: mean gain at the default quality, dB", float(np.mean(default[name])), gain)
        bars.at_most(f"{name}: BD-rate against JPEG, per cent", rates[name], rate)
        bars.at_least(f"{name}: MP/s", pixels / seconds[name], speed)
    bars.end()


def _at(images: list[np.ndarray], name: str, most: float) -> tuple[str, int, float, float, float]:
    """The codec, its highest quality that spends at most so many bits a pixel, the bits, and dB of both decoders."""
    import latentstore

    codec = latentstore.load_codec(name)
    low, high = 1, 100
    while low < high:  # bits grow with quality
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bits(codec, images, middle) <= most else (low, middle - 1)
    blobs = [codec.compress(image, low) for image in images]
    linear, small = (
        float(np.mean(_decibels(codec, blobs, images, codec.channels, which))) for which in ("linear", "small")
    )
    return name, low, _bits(codec, images, low), linear, small


def _bits(codec: Any, images: list[np.ndarray], quality: int) -> float:
    """The mean over the images of bits a pixel."""
    return float(np.mean([8 * len(codec.compress(i, quality)) / (i.shape[0] * i.shape[1]) for i in images]))


def _decibels(codec: Any, blobs: list[bytes], images: list[np.ndarray], kept: int, decoder: str) -> list[float]:
    pairs = zip(blobs, images, strict=True)
    return [common.psnr(codec.decompress(blob, kept, decoder), image) for blob, image in pairs]


if __name__ == "__main__":
    main()
