"""Writes one large image to Zarr tile by tile with dask, and reads pieces of it.

    python docs/examples/tiled_zarr.py [SIDE]

Each task makes and writes one tile, so memory is the size of a tile times the number of threads, whatever the size of
the image. Whoever reads the array needs only `zarr` and an installed latentstore.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr

import latentstore.zarr

TILE = 512


def terrain(block_info: dict) -> np.ndarray:
    """The pixels of one tile of an image that looks like a map: a function of their places alone."""
    (top, bottom), (left, right), _ = block_info[None]["array-location"]
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    height = np.sin(x / 97 + 2 * np.sin(y / 211)) + np.sin(y / 61 + np.sin(x / 173)) + 0.3 * np.sin((x + y) / 17)
    colours = np.stack([110 + 40 * height, 130 + 25 * height, 90 - 20 * height], -1)
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)


def main(side: int = 3000) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "map.zarr"
        array = latentstore.zarr.create(store, "map", (side, side, 3), chunks=(TILE, TILE, 3), quality=60)
        chunks = da.core.normalize_chunks(array.chunks, array.shape)
        tiles = da.map_blocks(terrain, chunks=chunks, dtype="uint8", meta=np.empty(0, "uint8"))
        with dask.config.set(scheduler="threads", num_workers=2):
            tiles.store(array, lock=False)

        found = zarr.open_array(store, path="map", mode="r")  # nothing of latentstore is imported for this
        stored = sum(file.stat().st_size for file in (store / "map").rglob("*") if file.is_file())
        print(f"{side} x {side} pixels in {found.nchunks} tiles: {stored / 1e6:.2f} MB for {found.nbytes / 1e6:.1f} MB")

        window = found[side // 2 : side // 2 + 300, 100:500]  # decodes the tiles that it touches, no others
        original = np.asarray(tiles[side // 2 : side // 2 + 300, 100:500])
        error = np.mean((window.astype(np.float32) - original) ** 2)
        psnr = float(10 * np.log10(255**2 / error))
        print(f"a window of {window.shape[0]} x {window.shape[1]} pixels: PSNR {psnr:.1f} dB")
        mean = da.from_zarr(store, component="map").mean(axis=(0, 1)).compute()
        print("mean colour of the whole image:", mean.round(1))
    return psnr


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
