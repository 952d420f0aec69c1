"""Makes the golden arrays of chunk format 1, in `arrays/v1` beside this file: `python
tests/golden/make_arrays.py`.

A group of Zarr v3 and one of v2, of images and latents coded by the artifact of the golden blobs, which
lies beside them. They are made once, by the release that froze the format, and never again: tests only read
them. So this refuses to run where the folder exists; a new format version gets a new folder.

values.npz has what each array must give back, by group and array. Latents are exact; pixels come from floats,
and may differ by one on another machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import zarr

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import latent
from zarr_arrays import images

import latentstore.zarr
from latentstore.codecs import codec_from_bytes
from latentstore.codecs.arrays.numcodecs_codec import SignalV2

ARTIFACT = Path(__file__).parent / "images" / "v1" / "artifact.safetensors"
FOLDER = Path(__file__).parent / "arrays" / "v1"


def main() -> None:
    if FOLDER.exists():
        raise SystemExit(f"{FOLDER} exists: golden arrays of a version that was frozen are never made again.")
    codec = codec_from_bytes(ARTIFACT.read_bytes())
    gray = images(5, 20, 28, 1)[..., 0]
    gray[1] = 7  # an image of the fill value
    gray[2, 11:] = 7
    codes = np.stack([latent(i, "plain", codec.channels, 3, 4) for i in range(5)])
    layouts: dict[int, dict[str, tuple[Any, dict[str, Any]]]] = {
        3: {
            "one": (gray, {"fill_value": 7}),
            "tiles": (gray, {"fill_value": 7, "chunks": (2, 16, 16)}),
            "sharded": (gray, {"chunks": (1, 20, 28), "shards": (2, 20, 28), "effort": "fast"}),
            "planes": (gray[:, None, :, :, None], {"axes": "nnhwc"}),
            "latent": (codes, {}),
            "latents": (codes, {"chunks": (2, 6, 3, 4), "shards": (4, 6, 3, 4), "fill_value": -1}),
            "prefix": (codes[:, :4], {"chunks": (3, 4, 3, 4)}),
        },
        2: {
            "one": (gray, {}),
            "tiles": (gray, {"chunks": (2, 16, 16)}),
            "latents": (codes, {"chunks": (2, 6, 3, 4)}),
        },
    }
    values = {}
    for zarr_format, arrays in layouts.items():
        path = FOLDER / f"v{zarr_format}.zarr"
        for name, (data, options) in arrays.items():
            settings = {"dtype": data.dtype, "zarr_format": zarr_format, **options}
            z = latentstore.zarr.create(path, name, data.shape, codec=codec, data=data, **settings)
            values[f"v{zarr_format}/{name}"] = z[...]
    z = zarr.open_group(FOLDER / "v2.zarr", mode="r+").create_array(
        "fortran", shape=gray.shape, chunks=(2, 20, 28), dtype="uint8", order="F", filters=None,
        compressors=SignalV2.of(codec, "nhw"), fill_value=None,
    )  # fmt: skip
    z[...] = gray
    values["v2/fortran"] = z[...]
    np.savez_compressed(FOLDER / "values.npz", **values)


if __name__ == "__main__":
    main()
