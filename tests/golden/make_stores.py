"""Makes the golden stores of store format 1, in `stores/v1` beside this file:
`python tests/golden/make_stores.py`.

Every layout once, of four samples in two shards, with every kind of field, coded by the artifact of the
golden blobs. They are made once, by the release that froze the format, and never again: tests only read them.
So this refuses to run where the folder exists; a new format version gets a new folder.

index.json says what each store must give back; latents.npz has the latents, int8 (c, h, w), by layout and
sample.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import latent

from latentstore.codecs import codec_from_bytes
from latentstore.writing.spec import Sample, StoreSpec, open_writer

ARTIFACT = Path(__file__).parent / "images" / "v1" / "artifact.safetensors"
FOLDER = Path(__file__).parent / "stores" / "v1"
QUALITY = 40
KEYS = ("a b/é 0", "a b/1", "c/2", "3")
SIZES = {"one-size": [(24, 40)] * 4, "many-sizes": [(24, 40), (1, 1), (70, 9), (24, 40)]}


def fields(i: int) -> dict[str, Any]:
    """Every kind of field of sample `i`; the mask is bytes, here and in index.json in hexadecimal."""
    return {"label": i - 1, "txt": f"caption ü {i}", "score": i / 4, "mask": bytes([i]) * i}


def main() -> None:
    if FOLDER.exists():
        raise SystemExit(f"{FOLDER} exists: golden stores of a version that was frozen are never made again.")
    codec = codec_from_bytes(ARTIFACT.read_bytes())
    latents, index = {}, {}
    for name, sizes in SIZES.items():
        samples = []
        for i, (height, width) in enumerate(sizes):
            latents[f"{name}-{i}"] = latent(i, "plain", codec.channels, *codec.latent_shape(height, width)[1:])
            groups = codec.encode_latent_groups(latents[f"{name}-{i}"], QUALITY)
            samples.append(Sample(KEYS[i], groups, width, height, fields(i)))
        spec = StoreSpec.of(
            codec, quality=QUALITY, size=sizes[0] if name == "one-size" else None, shard_samples=3,
            source="tests/golden/make_stores.py", classes=["x", "y", "z"],
        )  # fmt: skip
        for format, target in (("zarr", f"{name}.zarr"), ("wds", f"{name}-wds")):
            with open_writer(str(FOLDER / target), spec, format=format) as writer:
                # Two short shards, as where images could not be read: Zarr closes the gap.
                writer.write_shard(0, samples[:2])
                writer.write_shard(1, samples[2:])
                writer.finish(2)
            index[target] = {
                "latents": name,
                "keys": KEYS,
                "fields": [{**fields(i), "mask": fields(i)["mask"].hex()} for i in range(len(sizes))],
                "sizes": sizes,
                "classes": spec.classes,
                "quality": QUALITY,
            }
    np.savez(FOLDER / "latents.npz", **latents)
    (FOLDER / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
