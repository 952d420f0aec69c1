"""Fits a codec to images of one kind and compares it with the shipped one on others of that kind.

    python docs/examples/own_codec.py

`latentstore fit` needs the extra `train`. The images here are drawn; scans, slides or renderings of your own take their
place. In practice, some tens of megapixels give a good codec. The example uses less than one, to take seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore

SIDE = 128


def page(rng: np.random.Generator) -> np.ndarray:
    """An image that is like a page with coloured lines of text, uint8 (SIDE, SIDE, 3)."""
    image = np.full((SIDE, SIDE, 3), rng.uniform(225, 250), np.float32)
    for top in range(int(rng.integers(2, 8)), SIDE - 6, 10):
        ink = rng.uniform(0, 120, 3)
        marks = rng.random((6, SIDE // 2)).repeat(2, 1) < 0.45
        image[top : top + 6] = np.where(marks[..., None], ink, image[top : top + 6])
    return np.clip(np.rint(image + rng.normal(0, 2, image.shape)), 0, 255).astype(np.uint8)


def measured(codec: latentstore.codecs.Codec, images: list[np.ndarray], quality: int) -> tuple[float, float]:
    """Bits a pixel, and PSNR in dB."""
    blobs = [codec.compress(image, quality=quality) for image in images]
    errors = [np.mean((codec.decompress(b).astype(np.float32) - i) ** 2) for b, i in zip(blobs, images, strict=True)]
    bits = 8 * sum(map(len, blobs)) / (len(images) * SIDE * SIDE)
    return bits, float(10 * np.log10(255**2 / np.mean(errors)))


def main() -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder, artifact = Path(scratch) / "pages", Path(scratch) / "pages-f8c48.safetensors"
        folder.mkdir()
        for i in range(16):
            Image.fromarray(page(rng)).save(folder / f"{i:02d}.png")
        fit = [sys.executable, "-m", "latentstore", "fit", str(folder), "--name", "pages-f8c48", "--out", str(artifact)]
        subprocess.run([*fit, "--licence", "CC0", "--rounds", "1"], check=True, stdout=subprocess.DEVNULL)

        own, shipped = latentstore.load_codec(artifact), latentstore.load_codec("rgb-f8c48")
        others = [page(rng) for _ in range(8)]
        found = {}
        for codec in (shipped, own):
            for quality in (50, 90):
                bits, psnr = found[f"{codec.name} {quality}"] = measured(codec, others, quality)
                print(f"{codec.name:12} quality {quality}: {bits:.2f} bits a pixel, {psnr:.1f} dB")

        # Stores take it by its path, and have it inside for their readers.
        latentstore.convert(folder, f"{scratch}/pages.zarr", codec=str(artifact), size="native", progress=False)
        print(latentstore.open(f"{scratch}/pages.zarr"))
    return found


if __name__ == "__main__":
    main()
