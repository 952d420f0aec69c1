"""Kodak: the default point, the first 12 channels of the same blobs, and BD-rate against JPEG with the
peers beside us.

Means over the 24 images of bits per pixel of whole blobs, headers and all, and of PSNR over RGB. A
BD-rate is the mean difference of log rate between two such curves (piecewise cubic, Bjontegaard's method)
over the PSNR range both cover.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.support import peers
from latentstore.evaluate.bd_rate import Point, bd_rate

QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


def measure(
    images: Sequence[np.ndarray],
    encode: Callable[[np.ndarray], bytes],
    decode: Callable[[bytes], np.ndarray],
) -> Point:
    """(bits per pixel, dB), means over the images."""
    points = []
    for image in images:
        blob = encode(image)
        points.append((8 * len(blob) / (image.shape[0] * image.shape[1]), common.psnr(decode(blob), image)))
    bpp, db = np.mean(points, axis=0)
    return float(bpp), float(db)


def main() -> None:
    import latentstore
    from latentstore.codecs.bitstream.sample import split_sample

    common.header("Rate and distortion on Kodak", "imagecodecs")
    codec = latentstore.load_codec(common.CODEC)
    images = common.kodak()

    def linear(blob: bytes) -> np.ndarray:
        return codec.decompress(blob, decoder="linear")

    def first_group(blob: bytes) -> bytes:
        return blob[: split_sample(blob).ends[0]]

    default = measure(images, codec.compress, linear)
    prefix = measure(
        images,
        lambda image: first_group(codec.compress(image)),
        lambda blob: codec.decompress(blob, channels=codec.group_channels, decoder="linear"),
    )
    curves = {"latentstore rgb-f8c48": [default]}
    rows: list[tuple[object, ...]] = [("latentstore rgb-f8c48", f"default ({codec.default_quality})", *default)]
    rows.append(("  its first 12 channels", "default", *prefix))
    for quality in QUALITIES:
        point = measure(images, lambda image, q=quality: codec.compress(image, quality=q), linear)
        curves["latentstore rgb-f8c48"].append(point)
        rows.append(("latentstore rgb-f8c48", quality, *point))
    fast = measure(images, lambda image: codec.compress(image, effort="fast"), linear)
    rows.append(("latentstore, fast setting", "default", *fast))
    for name, peer in peers.CURVES.items():
        curves[name] = []
        for quality in peer.qualities:
            point = measure(images, lambda image, p=peer, q=quality: p.encode(image, q), peer.decode)
            curves[name].append(point)
            rows.append((name, quality, *point))
    common.table(["", "setting", "bits per pixel", "PSNR, dB"], [(n, q, f"{b:.3f}", f"{d:.2f}") for n, q, b, d in rows])
    reference = next(iter(peers.CURVES))
    rates = {name: bd_rate(curve, curves[reference]) for name, curve in curves.items() if name != reference}
    print()
    common.table(["BD-rate against JPEG", "per cent of bits"], [(name, f"{rate:+.1f}") for name, rate in rates.items()])
    print()
    bars = common.Bars()
    bars.at_least("default quality, dB", default[1], 31.3)
    bars.at_most("default quality, bits per pixel", default[0], 0.485)
    bars.at_least("first 12 channels of those blobs, dB", prefix[1], 27.3)
    bars.at_most("first 12 channels of those blobs, bits per pixel fetched", prefix[0], 0.265)
    bars.at_most("BD-rate against JPEG, per cent", rates["latentstore rgb-f8c48"], -34)
    bars.end()


if __name__ == "__main__":
    main()
