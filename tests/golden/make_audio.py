"""Makes the golden files of audio, in the folder `audio-v1` beside this file:

    python tests/golden/make_audio.py

As with `make.py`: made once, and then only read. index.json says of every blob how many samples it has, at which rate,
its step code, and the SHA-256 of its latent (int8, in C order) and of its signal (float32, little-endian); two short
ones are kept whole, so that a difference can be looked at.

They were made anew once, before the first release: blobs of audio say the level of their signal since, and steps that
are not in units of it are gone from the format.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from random_models import latent, random_adaptive_tables

from latentstore.codecs import AudioCodec, codec_from_bytes
from latentstore.codecs.artifact.file import make_artifact
from latentstore.codecs.audio.lapped import mdct_basis
from latentstore.codecs.entropy.adaptive import ADAPTIVE_TABLES

FOLDER = Path(__file__).parent / "audio" / "v1"
HOP, GROUP, CHANNELS = 8, 3, 6
# samples, and the level code of the blob
CASES = [
    ("one-sample", "plain", 1, 1), ("short", "strong", 61, 18), ("zeros", "zeros", 800, 81),
    ("extreme", "extreme", 1000, 1), ("sparse", "sparse", 8192, 127), ("segments", "sparse", 8193, 41),
    ("many-segments", "plain", 20_001, 2),
]  # fmt: skip


def tiny_artifact() -> bytes:
    """A codec of two inputs, two groups of three channels, with entropy models without meaning."""
    facts = {
        "name": "golden-stereo-f8c6", "mode": "sound", "inputs": 2, "hop": HOP, "rate": 8000, "relative": True,
        "channels": CHANNELS, "group_channels": GROUP, "precision": 12, "default_quality": 40,
        "quality_steps": [[1, 0.5], [100, 0.005]], "floor": [0.01] * CHANNELS, "model_steps": [0.1],
        "bound": [8.0] * CHANNELS, "lambda": 0.1, "rounding": 0.4,
        "card": {"licence": "Apache-2.0", "fitted on": "nothing: it is for tests"},
    }  # fmt: skip
    tables = random_adaptive_tables(5, models=2, channels=GROUP, tables=6, precision=12)
    tensors: dict[str, Any] = {f"entropy.{name}": t for name, t in zip(ADAPTIVE_TABLES, tables, strict=True)}
    half = np.float32(0.5**0.5)
    tensors["mix"] = np.array([[half, half], [half, -half]], np.float32)
    tensors["source"] = np.array([0, 0, 1, 0, 1, 0], np.int8)
    tensors["basis"] = mdct_basis(HOP)[[0, 1, 0, 2, 1, 3]].astype(np.float32)
    tensors["delta"] = np.array([[0.1, 0.05]] * CHANNELS, np.float32)
    return make_artifact(facts, tensors)


def main() -> None:
    FOLDER.mkdir(parents=True)
    content = tiny_artifact()
    codec = codec_from_bytes(content)
    assert isinstance(codec, AudioCodec)
    (FOLDER / "artifact.safetensors").write_bytes(content)
    index = {}
    for number, (name, kind, samples, level) in enumerate(CASES):
        values = latent(number, kind, *codec.latent_shape(1, samples))
        code = 256 * (level - 1) + 180 + number
        blob = codec.join_groups(codec.encode_latent_groups(values, 60, code), 1, samples, 8000 + number)
        signal = codec.decompress(blob)
        (FOLDER / f"{name}.bin").write_bytes(blob)
        if samples < 100:
            np.save(FOLDER / f"{name}-latent.npy", values)
            np.save(FOLDER / f"{name}-signal.npy", signal)
        index[name] = {
            "samples": samples,
            "rate": 8000 + number,
            "step": code,
            "latent_sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            "signal_sha256": hashlib.sha256(signal.astype("<f4").tobytes()).hexdigest(),
        }
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
