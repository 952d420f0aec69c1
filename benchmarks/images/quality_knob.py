"""The quality knob on Kodak: how far it reaches, that it is monotone, and what the fast setting costs.

Means of 24 images, whole blobs with headers; of the first group (12 channels; of gray 8, of rgb-f16c48 24) the bytes
fetched.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import warnings

import numpy as np

QUALITIES = (1, 10, 25, 49, 75, 90, 100)
SIXTEEN = (1, 20, 30, 40, 50, 60, 75, 90, 100)
LOWEST, HIGHEST = 27.0, 37.0


def main() -> None:
    import latentstore
    from latentstore.codecs import OutlierWarning
    from latentstore.codecs.bitstream.sample import split_sample

    # at the highest qualities some coefficients are limited; that is part of what is measured
    warnings.simplefilter("ignore", OutlierWarning)
    common.header("The quality knob on Kodak")
    images = {"RGB": common.kodak()}
    # ITU-R 601 luma
    images["L"] = [np.rint(p @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None] for p in images["RGB"]]

    def point(name: str, quality: int, effort: str = "default") -> list[float]:
        """Bits a pixel and PSNR of all channels, then of the first group's."""
        codec = latentstore.load_codec(name)
        rows = []
        for image in images[codec.mode]:
            blob = codec.compress(image, quality, effort=effort)
            row = []
            for channels, end in ((codec.channels, len(blob)), (codec.group_channels, split_sample(blob).ends[0])):
                row += [
                    8 * end / image[..., 0].size,
                    common.psnr(codec.decompress(blob, channels, decoder="linear"), image),
                ]
            rows.append(row)
        return [float(mean) for mean in np.mean(rows, axis=0)]

    columns = ["", "quality", "bits per pixel", "PSNR, dB", "first group, bits", "PSNR, dB"]
    colours = [point(common.CODEC, quality) for quality in QUALITIES]
    rows = [[common.CODEC, quality, *found] for quality, found in zip(QUALITIES, colours, strict=True)]
    rows += [["rgb-f16c48", quality, *point("rgb-f16c48", quality)] for quality in SIXTEEN]
    rows += [["gray-f8c16", quality, *point("gray-f8c16", quality)] for quality in (49, 100)]
    common.table(columns, rows)

    print("\nThe fast setting: bits over the default setting's at the same PSNR")
    costs = []
    for quality in (25, 49):
        bits, psnr = point(common.CODEC, quality, "fast")[:2]
        near = [point(common.CODEC, q)[:2] for q in range(quality, quality + 13, 4)]
        same = float(np.exp(np.interp(psnr, [p for _, p in near], np.log([b for b, _ in near]))))
        costs.append([f"quality {quality}", bits, psnr, bits / same])
    common.table(["", "bits per pixel", "PSNR, dB", "times the default's"], costs)

    bars = common.Bars()
    bars.at_most("lowest quality, dB", colours[0][1], LOWEST)
    bars.at_least("highest quality, dB", colours[-1][1], HIGHEST)
    rises = np.diff([found[:2] for found in colours], axis=0)
    bars.at_least("least rise from one to the next, bits and dB", float(rises.min()), 0.0)
    bars.end()


if __name__ == "__main__":
    main()
