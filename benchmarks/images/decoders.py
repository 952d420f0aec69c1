"""Trained decoders beside the linear one on Kodak: what they gain at prefixes of the channels, and their speed.

One thread. The blobs are the same for all decoders.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import time

import numpy as np

PREFIXES = (12, 24, 48)
QUALITIES = (10, 20, 30, 49, 60, 75)
# Mean over the prefixes at the default quality, in dB; what a decoder is worth its time for.
GAIN = 0.4
SPEED = 3.0
# Images of which the slower decoders are timed.
TIMED = 6


def main() -> None:
    import latentstore
    from latentstore.codecs.neural.decoder import shipped_decoders

    common.header("Decoders of images on Kodak, one thread")
    codec = latentstore.load_codec(common.CODEC)
    images = common.kodak()
    decoders = list(shipped_decoders(codec.sha256))
    for name in decoders:
        card = shipped_decoders(codec.sha256)[name].card
        print(f"{name}: trained on {card['trained on']}")

    rows, default = [], {}
    for quality in QUALITIES:
        blobs = [codec.compress(image, quality) for image in images]
        for kept in PREFIXES:
            found = {
                name: [common.psnr(codec.decompress(b, kept, name), i) for b, i in zip(blobs, images, strict=True)]
                for name in ("linear", *decoders)
            }
            gains = [float(np.mean(found[name]) - np.mean(found["linear"])) for name in decoders]
            least = [float(np.min(np.subtract(found[name], found["linear"]))) for name in decoders]
            if quality == codec.default_quality:
                default[kept] = gains
            cells = [f"{gain:+.3f} ({low:+.3f})" for gain, low in zip(gains, least, strict=True)]
            rows.append((f"{quality}, {kept} channels", f"{np.mean(found['linear']):.2f}", *cells))
    common.table(["quality", "linear, dB", *(f"{name}, dB more (least)" for name in decoders)], rows)

    blobs = [codec.compress(image) for image in images[:TIMED]]
    seconds = common.race(
        {
            name: lambda name=name: [codec.decompress(blob, decoder=name) for blob in blobs]
            for name in ("linear", *decoders)
        },
        clock=time.process_time,
    )
    pixels = sum(image.shape[0] * image.shape[1] for image in images[:TIMED]) / 1e6
    print()
    common.table(["decoder", "MP/s"], [(name, pixels / spent) for name, spent in seconds.items()])
    print()
    bars = common.Bars()
    for i, name in enumerate(decoders):
        bars.at_least(f"{name}, mean gain in dB", float(np.mean([gains[i] for gains in default.values()])), GAIN)
        bars.at_least(f"{name}, MP/s", pixels / seconds[name], SPEED)
    bars.end()


if __name__ == "__main__":
    main()
