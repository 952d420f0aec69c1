"""Caches the latents and the text embeddings of SDXL for a folder of images, and reads a batch of them.

    pip install diffusers transformers
    python docs/examples/sdxl_latents.py FOLDER STORE [MODEL]
    torchrun --nproc-per-node 8 docs/examples/sdxl_latents.py FOLDER STORE

FOLDER has images, and beside each a text of the same name with its caption: `0001.jpg` and `0001.txt`. MODEL is a name
or a folder that diffusers can open. A run that was stopped is run again, and encodes only what is missing.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

import latentstore
from latentstore import Encoder, Tensor
from latentstore.loaders import LatentLoader

MODEL = "stabilityai/stable-diffusion-xl-base-1.0"
SIDE, BATCH = 1024, 4
FIELDS = {
    "latent": Tensor("float16", "step", snr=40),  # (4, 128, 128): the error is a hundredth of the spread
    "text": Tensor("bfloat16"),  # (77, 2048), every bit
    "pooled": Tensor("bfloat16"),  # (1280,)
    "time_ids": Tensor("int32"),  # (6,): SDXL is also told the size of the original, and where it was cut
    "caption": str,
}


def read(paths: Sequence[Path]) -> tuple[torch.Tensor, np.ndarray]:
    """The centre squares of images, float32 (b, 3, SIDE, SIDE), from -1 to 1; and their time ids, int32 (b, 6)."""
    squares, ids = [], []
    for path in paths:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        squares.append(np.asarray(image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))))
        ids.append((image.height, image.width, top * SIDE // side, left * SIDE // side, SIDE, SIDE))
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels, np.array(ids, np.int32)


def encoders_of(pipe: Any, model: str) -> dict[str, Encoder]:
    """What makes each field. A loader multiplies latents by the scale of theirs, and leaves the others as they are."""
    vae = Encoder(f"{model}, VAE", preprocessing={"size": SIDE}, scale=pipe.vae.config.scaling_factor)
    text = Encoder(f"{model}, text encoders")
    return {"latent": vae, "text": text, "pooled": text}


@torch.no_grad()
def encode(pipe: Any, paths: Sequence[Path], captions: list[str], device: str) -> dict[str, Any]:
    """For each field, one entry a sample."""
    pixels, time_ids = read(paths)
    latent = pipe.vae.encode(pixels.to(device)).latent_dist.mean
    text, _, pooled, _ = pipe.encode_prompt(
        captions, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    texts = {"text": text.bfloat16(), "pooled": pooled.bfloat16(), "caption": captions}
    return {"latent": latent.half(), "time_ids": time_ids, **texts}


def main(folder: str, url: str, model: str = MODEL) -> None:
    # In float16 this VAE makes NaN of some images, so everything is loaded in float32.
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    pipe = StableDiffusionXLPipeline.from_pretrained(model).to(device)
    encoders = encoders_of(pipe, model)
    endings = (".jpg", ".jpeg", ".png", ".webp")
    images = {path.stem: path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in endings}
    with latentstore.Writer(url, FIELDS, encoder=encoders, resume=True) as writer:
        own = list(images)[writer.rank :: writer.world_size]  # each key belongs to one rank
        missing = iter(writer.missing(own))
        while keys := list(itertools.islice(missing, BATCH)):
            captions = [images[key].with_suffix(".txt").read_text(encoding="utf-8").strip() for key in keys]
            writer.write_batch(keys, encode(pipe, [images[key] for key in keys], captions, device))
    if writer.rank:
        return
    ds = latentstore.open(url, encoder=encoders)
    stored = sum(shard["bytes"] for shard in ds.info["shards"])
    print(f"{len(ds)} samples, {stored / len(ds):.0f} bytes each")
    loader = LatentLoader(ds, BATCH, shuffle=True, output="latents", dtype=torch.float32, rank=0, world_size=1)
    batch = next(iter(loader))  # latents are scaled, and ready for the model
    print({name: tuple(value.shape) for name, value in batch.items() if isinstance(value, torch.Tensor)})


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
