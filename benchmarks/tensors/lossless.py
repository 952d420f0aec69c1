"""Tensors stored exactly: bits a value and speed beside zstd, bitshuffle with zstd, and pcodec, sample by sample.

Tables are fitted to the first half of each data set, and the second half is measured. A blob of ours has its header and
checksum in its size, and the checksum is verified in its time. Peers are shown for whole data sets, too, as one
array: a fair look at what they find where samples are small; ours stays by sample.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numcodecs import blosc, zstd
from pcodec import ChunkConfig, standalone

from benchmarks.support import tensors

Coder = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], object]]


def planes(array: np.ndarray) -> bytes:
    return zstd.compress(np.ascontiguousarray(array.reshape(-1, 1).view(np.uint8).T), 3)


def from_planes(width: int) -> Callable[[bytes], object]:
    return lambda blob: np.frombuffer(zstd.decompress(blob), np.uint8).reshape(width, -1).T.copy().view(f"u{width}")


def shuffled(array: np.ndarray) -> bytes:
    return blosc.compress(array, b"zstd", 3, blosc.BITSHUFFLE)


def peers(width: int) -> dict[str, Coder]:
    """The peers' calls for values of so many bytes."""
    return {
        "zstd 3": (lambda a: zstd.compress(a, 3), zstd.decompress),
        "byte planes, zstd 3": (planes, from_planes(width)),
        "bitshuffle, zstd 3": (shuffled, blosc.decompress),
        "pcodec": (lambda a: standalone.simple_compress(a.ravel(), ChunkConfig()), standalone.simple_decompress),
    }


def main() -> None:
    from latentstore.codecs.entropy.blobs import Blobs
    from latentstore.codecs.tensors import Tensor, TensorCoder

    blosc.set_nthreads(1)
    common.header("Tensors without loss", "numcodecs", "pcodec", "torch")
    bars = common.Bars(later=True)
    for name, data in tensors.everything().items():
        half = len(data) // 2
        arrays = [np.ascontiguousarray(array) for array in data[half:]]
        bits = [array.view(f"u{array.itemsize}") for array in arrays]
        values, size = data[half:].size, data[half:].nbytes
        coder = TensorCoder.fit(Tensor(data.dtype), list(data[:half]))
        blobs = coder.encode(arrays)
        whole = Blobs.whole(blobs)
        assert coder.decode_stacked(whole).tobytes() == data[half:].tobytes()
        entrants = peers(data.itemsize)
        made = {peer: [encode(array) for array in bits] for peer, (encode, _) in entrants.items()}
        writing = common.race({"encode": lambda c=coder, a=arrays: c.encode(a), "write": lambda a=arrays: write(a)}, 5)
        reading = {"latentstore": lambda c=coder, b=whole: c.decode(b)}
        encoding: dict[str, Callable[[], object]] = {}
        for peer, (encode, decode) in entrants.items():
            reading[peer] = lambda d=decode, b=made[peer]: [d(one) for one in b]
            encoding[peer] = lambda e=encode, a=bits: [e(one) for one in a]
        read_s, encode_s = common.race(reading, 9, 20), common.race(encoding, 3, 20)
        encode_s["latentstore"] = writing["encode"]
        taken = {"latentstore": 8 * sum(map(len, blobs)) / values}
        taken |= {peer: 8 * sum(map(len, one)) / values for peer, one in made.items()}
        together = {peer: 8 * len(encode(np.concatenate(bits))) / values for peer, (encode, _) in entrants.items()}
        print(
            f"\n{name}: {len(arrays)} samples of {arrays[0].shape}, {8 * data.itemsize} bits a value; the coder's file"
        )
        print(f"has {len(coder.to_bytes())} bytes; raw bytes are written at {size / writing['write'] / 1e6:.0f} MB/s")
        common.table(
            ["", "bits a value", "all as one", "encode MB/s", "decode MB/s"],
            [
                (who, taken[who], together.get(who, "-"), size / encode_s[who] / 1e6, size / read_s[who] / 1e6)
                for who in taken
            ],
        )
        best = min(entrants, key=lambda peer: taken[peer])
        bars.at_most(f"{name}: bits over {best}'s", taken["latentstore"] / taken[best], 1.02)
        bars.at_least(f"{name}: decoding speed over {best}'s", read_s[best] / read_s["latentstore"], 0.8)
        bars.at_least(f"{name}: encoding speed over that of writing", writing["write"] / writing["encode"], 0.5)
    print()
    bars.end()


def write(arrays: Sequence[np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "raw").open("wb") as file:
        for array in arrays:
            file.write(array.view(np.uint8))


if __name__ == "__main__":
    main()
