"""Makes golden.npz beside this file: coders, arrays and their blobs, as version 1 of the format has them.

    python tests/data/tensors/make.py

They are never made again where the file exists: tests only read it. A new version of the format gets a new file.
Arrays are kept as bytes, since files of NumPy have no bfloat16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentstore.codecs.tensors import Tensor, TensorCoder

FILE = Path(__file__).with_name("golden.npz")


def cases() -> dict[str, tuple[Tensor, list[np.ndarray], list[np.ndarray]]]:
    """The declaration, the sample, and what is coded, by name."""
    rng = np.random.default_rng(2026)
    latents = [rng.normal(size=(4, 5, 6)) * np.array([0.1, 1, 4, 0.5]).reshape(4, 1, 1) for _ in range(8)]
    odd = np.array([0, 0x8000, 0x7FC1, 0xFF80, 0x7F80, 0x0001], np.uint16)
    found = {}
    for name in ("float16", "bfloat16", "float32"):
        tensor = Tensor(name)
        arrays = [latent.astype(tensor.values) for latent in latents]
        few = [arrays[0], arrays[1][:, :1], arrays[2][0, 0, 0]]
        found[name] = (tensor, arrays, [*few, np.tile(arrays[3][0, 0], 40)])
    found["bfloat16"][2].append(odd.view(found["bfloat16"][0].values))
    found["int32"] = (Tensor("int32"), [], [rng.integers(-5, 5, (7, 9)).astype(np.int32), np.zeros((3, 0), np.int32)])
    codes = [np.minimum(rng.geometric(0.1, (2, 300)) - 1, 31).astype(np.int16) for _ in range(4)]
    found["codes"] = (Tensor("int16", "codes", vocabulary=32), codes, [codes[0], codes[1][:, :5], codes[2][0]])
    found["books"] = (Tensor("int16", "codes", vocabulary=(32, 40)), codes, codes[:2])
    return found


def main() -> None:
    if FILE.exists():
        raise SystemExit(f"{FILE} exists: golden blobs of a version that was written are never made again.")
    held = {}
    for name, (tensor, sample, arrays) in cases().items():
        coder = TensorCoder.fit(tensor, sample)
        held[f"{name}/coder"] = np.frombuffer(coder.to_bytes(), np.uint8)
        for i, (array, blob) in enumerate(zip(arrays, coder.encode(arrays), strict=True)):
            held[f"{name}/{i}/blob"] = np.frombuffer(blob, np.uint8)
            held[f"{name}/{i}/values"] = np.frombuffer(np.asarray(array).tobytes(), np.uint8)
            held[f"{name}/{i}/shape"] = np.array(np.shape(array), np.int64)
    np.savez_compressed(FILE, **held)


if __name__ == "__main__":
    main()
