"""Tensors by steps: bits a value and speed at a declared error, beside block quantisation at the same SNR, and zstd and
pcodec of integers, sample by sample.

Codings are fitted to the first half of each data set, and the second half is measured. SNR is the ratio of the variance
about the channels' means to the mean squared error. Peers code what uniform quantisation of each channel gives at the
same SNR. Our bits have all bytes of payloads and 12 bytes for each sample's
frame; block quantisation has codes of b bits and a float16 scale for each 64 values, and no frame. Where vaezip is
installed, its codecs are beside them, with the bytes of all tensors that they give, and no file around them.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numcodecs import zstd
from pcodec import ChunkConfig, standalone

from benchmarks.support import tensors

FRAME_BYTES = 12
SNRS = (20, 32, 44)
BARS = {20: 3.35, 32: 5.3, 44: 7.2}
BLOCK = 64
VAEZIP = ("lbrq_3bit", "lbrq_4bit", "lbrq_6bit", "brq_8bit") if find_spec("vaezip") else ()


def snr_of(arrays: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """dB, over arrays (channels, ...)."""
    given, back = np.stack(arrays).astype(np.float64), np.stack(got).astype(np.float64)
    around = given - given.mean(axis=(0, *range(2, given.ndim)), keepdims=True)
    return float(10 * np.log10(np.square(around).mean() / np.square(given - back).mean()))


def uniform(fit: Sequence[np.ndarray], arrays: Sequence[np.ndarray], snr: float) -> list[np.ndarray]:
    """Integers, int16, of steps for each channel that are fitted to samples and give arrays that SNR."""
    steps = np.sqrt(np.stack(fit).astype(np.float64).var(axis=(0, *range(2, fit[0].ndim)), keepdims=True))[0]
    scale = 10 ** (-snr / 20) * 12**0.5
    for _ in range(8):
        integers = [np.rint(a / (scale * steps)) for a in arrays]
        reached = snr_of(arrays, [i * (scale * steps) for i in integers])
        scale *= 10 ** ((reached - snr) / 20)
    return [i.astype(np.int16) for i in integers]


def by_blocks(array: np.ndarray, bits: int) -> np.ndarray:
    """What block quantisation gives back: 64 values share the scale of the largest of them."""
    blocks = array.reshape(-1, BLOCK)
    most = 2 ** (bits - 1) - 1
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / most).astype(np.float16).astype(np.float32)
    codes = np.clip(np.rint(blocks / np.where(scale > 0, scale, 1)), -most - 1, most)
    return (codes * scale).reshape(array.shape)


def by_vaezip(arrays: Sequence[np.ndarray], codec: str) -> tuple[list[np.ndarray], float]:
    """(what vaezip gives back of each sample, bits a value)."""
    import torch
    import vaezip

    coded = [vaezip.encode(torch.from_numpy(np.ascontiguousarray(a))[None], codec=codec) for a in arrays]
    size = sum(tensor.numel() * tensor.element_size() for one in coded for tensor in one.tensors.values())
    return [one.decode()[0].numpy() for one in coded], 8 * size / sum(a.size for a in arrays)


def main() -> None:
    from latentstore.codecs.entropy.blobs import Blobs
    from latentstore.codecs.tensors.step.coding import StepCoding

    common.header("Tensors by steps", "numcodecs", "pcodec", "torch", *(["vaezip"] if VAEZIP else []))
    bars = common.Bars(later=True)
    for name, data in {**tensors.latents(), **tensors.features()}.items():
        half = len(data) // 2
        fit, arrays = list(data[:half].astype(np.float32)), list(data[half:].astype(np.float32))
        values = sum(a.size for a in arrays)

        def coded(snr: float, fit=fit, arrays=arrays, values=values):
            coding = StepCoding.fit(fit, channel_axis=0, snr=snr)
            payloads = coding.encode(arrays)
            return coding, payloads, 8 * (sum(map(len, payloads)) + FRAME_BYTES * len(arrays)) / values

        rows = []
        for snr in SNRS:
            coding, payloads, bits = coded(snr)
            whole = [np.empty(a.shape, np.int32) for a in arrays]
            half_floats = [np.empty(a.shape, np.float16) for a in arrays]
            blobs, shapes = Blobs.whole(payloads), [a.shape for a in arrays]
            coding.decode_steps(blobs, shapes, whole)
            steps = coding.steps[:, None, None]
            reached = snr_of(arrays, [w * steps for w in whole])
            integers = uniform(fit, arrays, reached)
            peers = {
                "zstd 3": 8 * sum(len(zstd.compress(i, 3)) for i in integers) / values,
                "pcodec": 8 * sum(len(standalone.simple_compress(i.ravel(), ChunkConfig())) for i in integers) / values,
            }
            seconds = common.race(
                {
                    "decode": lambda c=coding, b=blobs, s=shapes, o=half_floats: c.decode(b, s, o),
                    "encode": lambda c=coding, a=arrays: c.encode(a),
                },
                9,
                20,
            )
            rows.append(
                (f"{snr}", f"{reached:.2f}", f"{bits:.3f}", f"{peers['zstd 3']:.2f}", f"{peers['pcodec']:.2f}",
                 values / seconds["encode"] / 1e6, values / seconds["decode"] / 1e6)
            )  # fmt: skip
            if name == tensors.LATENTS[0]:
                bars.at_most(f"{name} at {snr} dB: bits a value", bits, BARS[snr])
            bars.at_most(f"{name} at {snr} dB: bits over the better peer's", bits / min(peers.values()), 0.88)
        print(f"\n{name}: {len(arrays)} samples of {arrays[0].shape}")
        common.table(
            ["dB", "reached", "bits a value", "zstd 3", "pcodec", "encode, million/s", "decode to float16, million/s"],
            rows,
        )
        rows = []
        for width in (4, 6, 8):
            reached = snr_of(arrays, [by_blocks(a, width) for a in arrays])
            theirs = width + 16 / BLOCK
            bits = coded(reached)[2]
            rows.append((f"{width}", f"{reached:.2f}", f"{theirs:.2f}", f"{bits:.3f}"))
            bars.at_most(f"{name} at {reached:.1f} dB: bits over block quantisation's", bits / theirs, 0.88)
        common.table(["bits of a code", "dB", "block quantisation", "latentstore"], rows)
        rows = []
        for codec in VAEZIP:
            got, theirs = by_vaezip(arrays, codec)
            reached = snr_of(arrays, got)
            bits = coded(reached)[2]
            rows.append((codec, f"{reached:.2f}", f"{theirs:.2f}", f"{bits:.3f}"))
            bars.at_most(f"{name} at {reached:.1f} dB: bits over vaezip's {codec}", bits / theirs, 0.88)
        if rows:
            common.table(["codec of vaezip", "dB", "its bits a value", "latentstore"], rows)
    print()
    bars.end()


if __name__ == "__main__":
    main()
