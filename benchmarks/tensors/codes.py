"""Tokens of residual quantisers: bits a code beside zstd and beside log2 of the vocabulary.

The tokens are those of a residual quantiser (k-means by a fixed seed) of FLUX.2 latents. Tables are fitted to the first
half of the images, and the second half is measured, an image a blob. Sizes of blobs have headers and checksums in them.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import numpy as np
from numcodecs import zstd

from benchmarks.support import tensors


def main() -> None:
    from latentstore.codecs.entropy.blobs import Blobs
    from latentstore.codecs.tensors import Tensor, TensorCoder

    common.header("Codes of residual quantisers", "numcodecs", "torch")
    bars = common.Bars(later=True)
    rows = []
    for name, data in tensors.tokens().items():
        half = len(data) // 2
        size = tensors.CODEBOOKS[name][1]
        coder = TensorCoder.fit(Tensor("int16", "codes", vocabulary=size), list(data[:half]))
        arrays = list(data[half:])
        blobs = coder.encode(arrays)
        whole = Blobs.whole(blobs)
        assert np.array_equal(coder.decode_stacked(whole), data[half:])
        seconds = common.race(
            {"encode": lambda c=coder, a=arrays: c.encode(a), "decode": lambda c=coder, b=whole: c.decode(b)}
        )
        codes = data[half:].size
        bits = 8 * sum(map(len, blobs)) / codes
        small = data.astype(np.uint8) if size <= 256 else data
        squeezed = [zstd.compress(np.ascontiguousarray(array), 3) for array in small[half:]]
        planes = [zstd.compress(np.ascontiguousarray(a.reshape(-1, 1).view(np.uint8).T), 3) for a in small[half:]]
        zstd_bits = 8 * min(sum(map(len, squeezed)), sum(map(len, planes))) / codes
        speeds = [codes / seconds[what] / 1e6 for what in ("encode", "decode")]
        rows.append(
            (name, bits, zstd_bits, float(np.log2(size)), order_0(data[half:], size), *speeds, len(coder.to_bytes()))
        )
        bars.at_most(f"{name}: bits over log2 of the vocabulary", bits / np.log2(size), 1.0)
    columns = ["", "latentstore", "zstd 3", "log2", "entropy", "M codes/s in", "out", "bytes of the file"]
    common.table(columns, rows)
    bars.end()


def order_0(codes: np.ndarray, size: int) -> float:
    """The entropy of the measured codes by their own frequencies, which no tables of order 0 get below."""
    found = []
    for book in codes.swapaxes(0, 1):
        share = np.bincount(book.reshape(-1), minlength=size) / book.size
        found.append(-(share * np.log2(np.where(share, share, 1))).sum())
    return float(np.mean(found))


if __name__ == "__main__":
    main()
