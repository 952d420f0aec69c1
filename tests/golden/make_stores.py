"""Makes the golden stores of store format 1, in `stores/v1` beside this file:

    python tests/golden/make_stores.py

There is one store for every layout and modality, of four samples in two shards, with every kind of field, coded by the
artifacts of the golden blobs; and `fields`, which `latentstore.Writer` made, with latents of images and of recordings
beside tensors. The release that freezes the format makes them for the last time, and after that tests
only read them. So this script refuses to run where the folder exists. A new format version gets a new folder.

index.json says what each store must give back; latents.npz has the latents, int8 (c, h, w), by store and sample, and
fields.npz the latents and tensors of the store `fields`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import latent as random_latent

import latentstore
from latentstore import Latents, Tensor, Writer
from latentstore.codecs import codec_from_bytes
from latentstore.codecs.codec import Codec
from latentstore.writing import Sample, StoreSpec, open_writer

HERE = Path(__file__).parent
FOLDER = HERE / "stores" / "v1"
QUALITY = 40
KEYS = ("a b/é 0", "a b/1", "c/2", "3")
CASES = {  # folder of the golden blobs' artifact, and (height, width) of the samples
    "one-size": ("images", [(24, 40)] * 4),
    "many-sizes": ("images", [(24, 40), (1, 1), (70, 9), (24, 40)]),
    "windows": ("audio", [(1, 61)] * 4),
    "recordings": ("audio", [(1, 61), (1, 1), (1, 900), (1, 61)]),
}


def fields(i: int) -> dict[str, Any]:
    """Every kind of field of sample `i`; the thumb is bytes, here and in index.json in hexadecimal."""
    return {"label": i - 1, "txt": f"caption ü {i}", "score": i / 4, "thumb": bytes([i]) * i}


def made(codec: Codec, latents: list[np.ndarray], sizes: list[tuple[int, int]]) -> list[Sample]:
    """The samples of these latents; those of audio have its fields too."""
    samples = []
    for i, (latent, (height, width)) in enumerate(zip(latents, sizes, strict=True)):
        # audio says its step and its level, here of two samples each
        more: Any = {"code": 180 + 256 * 27 * (i // 2)} if "step" in codec.modality.fields else {}
        groups = codec.encode_latent_groups(latent, QUALITY, **more)
        own: dict[str, Any] = {"rate": 8000 + i} if "rate" in codec.modality.fields else {}
        samples.append(Sample(KEYS[i], groups, width, height, {**fields(i), **own, **codec.sample_fields(groups)}))
    return samples


def write_fields() -> dict[str, Any]:
    """The store of latents beside tensors, with its arrays; what index.json says of it."""
    codecs = {
        name: codec_from_bytes((HERE / kind / "v1" / "artifact.safetensors").read_bytes())
        for name, kind in (("image", "images"), ("audio", "audio"))
    }
    declared = {name: Latents(codec, QUALITY) for name, codec in codecs.items()}
    rng, arrays = np.random.default_rng(0), dict[str, np.ndarray]()
    made = []
    for i, (image_size, audio_size) in enumerate(zip(CASES["many-sizes"][1], CASES["recordings"][1], strict=True)):
        image = rng.integers(0, 256, (*image_size, codecs["image"].in_channels), np.uint8)
        audio = rng.normal(0, 0.1, (audio_size[1], codecs["audio"].in_channels)).astype(np.float32)
        text = rng.normal(0, 1, (2, 3 + i)).astype(np.float16)
        arrays[f"text-{i}"] = text
        made.append({**fields(i), "image": image, "audio": audio, "text": text})
    order = {"text": Tensor("float16"), **declared, "label": int, "txt": str, "score": float, "thumb": bytes}
    for first in (0, 2):  # two versions, of a shard each
        with Writer(FOLDER / "fields", order, resume=first > 0, source="tests/golden/make_stores.py") as writer:
            for i in (first, first + 1):
                writer.write(KEYS[i], made[i])
    ds = latentstore.open(FOLDER / "fields")
    steps = ds.latents["audio"].fields()["step"].tolist()
    for name in codecs:
        arrays |= {f"{name}-{i}": latent for i, latent in enumerate(ds.read()[name])}
    np.savez(FOLDER / "fields.npz", **arrays)
    return {
        "keys": KEYS,
        "fields": [{**fields(i), "thumb": fields(i)["thumb"].hex()} for i in range(4)],
        "sizes": {"image": CASES["many-sizes"][1], "audio": CASES["recordings"][1]},
        "steps": steps,
        "quality": QUALITY,
    }


def main() -> None:
    if FOLDER.exists():
        raise SystemExit(f"{FOLDER} exists: golden stores of a version that was frozen are never made again.")
    kept, index = {}, {}
    for name, (kind, sizes) in CASES.items():
        codec = codec_from_bytes((HERE / kind / "v1" / "artifact.safetensors").read_bytes())
        latents = [
            random_latent(i, "plain", codec.channels, *codec.latent_shape(*size)[1:]) for i, size in enumerate(sizes)
        ]
        kept.update({f"{name}-{i}": latent for i, latent in enumerate(latents)})
        samples = made(codec, latents, sizes)
        spec = StoreSpec.of(
            codec, quality=QUALITY, size=sizes[0] if len(set(sizes)) == 1 else None, shard_samples=3,
            source="tests/golden/make_stores.py", classes=["x", "y", "z"],
        )  # fmt: skip
        for format, target in (("zarr", f"{name}.zarr"), ("wds", f"{name}-wds"), ("versions", f"{name}-versions")):
            with open_writer(str(FOLDER / target), spec, format=format) as writer:
                # Two short shards, as where entries could not be read: Zarr closes the gap.
                writer.write_shard(0, samples[:2])
                writer.write_shard(1, samples[2:])
                writer.finish(2)
            index[target] = {
                "latents": name,
                "modality": codec.modality.name,
                "keys": KEYS,
                "fields": [{**s.fields, "thumb": fields(i)["thumb"].hex()} for i, s in enumerate(samples)],
                "sizes": sizes,
                "classes": spec.classes,
                "quality": QUALITY,
            }
    np.savez(FOLDER / "latents.npz", **kept)
    index["fields"] = write_fields()
    (FOLDER / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
