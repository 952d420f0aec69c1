"""Headers, lane states and padding of a 256x256 sample, in per cent of it.

A sample blob has its own header and, for each group, a header with its checksum and the states of the
lanes; there is no padding. In a Zarr store the sample header falls away and the shard's index comes instead
(16 bytes a group, which is Zarr's). What entropy coding itself loses is in `lossless_latents.py`.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import numpy as np
from PIL import Image

IMAGES = 128
ZARR_INDEX_BYTES = 16
BAR = 3.0


def parts(blob: bytes) -> tuple[int, int, int, int]:
    """Bytes of (sample header, group headers, lane states, everything)."""
    from latentstore.codecs.bitstream.group import group_info
    from latentstore.codecs.bitstream.sample import split_sample

    sample = split_sample(blob)
    headers = states = 0
    for start, end in zip(sample.starts, sample.ends, strict=True):
        info = group_info(blob[start:end])
        headers += info.header_bytes
        if end - start > info.header_bytes:
            states += 4 * info.lanes
    return sample.starts[0], headers, states, len(blob)


def main() -> None:
    import latentstore

    common.header("Headers and lane states of 256x256 samples")
    codec = latentstore.load_codec(common.CODEC)
    sets = {
        "photographs at 256": [common.at_256(Image.open(path)) for path in common.labelled()[:IMAGES]],
        "Kodak tiles": [x[i : i + 256, j : j + 256] for x in common.kodak() for i in (0, 256) for j in (0, 256)],
    }
    rows, shares = [], {}
    for name, images in sets.items():
        for effort in ("default", "fast"):
            blobs = [codec.compress(image, effort=effort) for image in images]
            sample, headers, states, whole = np.mean([parts(blob) for blob in blobs], axis=0)
            share = 100 * (sample + headers + states) / whole
            shares[name, effort] = share
            rows.append((f"{name}, {effort}: sample blob", sample, headers, states, whole, share))
            index = float(ZARR_INDEX_BYTES * codec.groups)
            whole += index - sample
            share = 100 * (index + headers + states) / whole
            rows.append((f"{name}, {effort}: in a Zarr store", index, headers, states, whole, share))
    columns = ["mean bytes", "sample header or index", "group headers", "lane states", "all", "per cent"]
    common.table(columns, rows)
    bars = common.Bars()
    for name in sets:
        bars.at_most(f"{name}, sample blob, default setting, per cent", shares[name, "default"], BAR)
    bars.end()


if __name__ == "__main__":
    main()
