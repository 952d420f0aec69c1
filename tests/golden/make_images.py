"""Makes the golden files of format version 1, in the folders `images/v1` and `images/v1-levels-4` beside this file:

    python tests/golden/make_images.py

The second folder is of a codec of four levels, and has none of what must fail. They are made once, by the release
that froze the format, and never again: tests only read them, and a file that is missing or changed fails them. So this
leaves a folder that exists as it is; a new format version gets a new folder.
index.json says of every file what it must decode to, or the error that it must raise.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from forged import reseal
from random_models import latent, random_tables

from latentstore.codecs import Codec, codec_from_bytes
from latentstore.codecs.artifact.file import make_artifact
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.entropy.coder import TABLES
from latentstore.codecs.image.symmetry import symmetric_basis

FOLDERS = {3: Path(__file__).parent / "images" / "v1", 4: Path(__file__).parent / "images" / "v1-levels-4"}
CLASSES = [0, 4, 5, 0, 2, 3]
GROUP = 3


def tiny_artifact(levels: int) -> bytes:
    """A gray codec of two groups of three channels, with weights without meaning."""
    rng = np.random.default_rng(1)
    basis = symmetric_basis(1, levels)
    rows = [rng.normal(0, 1, basis.runs[kind][1]) / 4 for kind in CLASSES]
    rows[2] = rows[1]
    facts = {
        "name": f"golden-l-f{2**levels}c6", "mode": "L",
        **({} if levels == 3 else {"levels": levels}), "channels": len(CLASSES), "group_channels": GROUP,
        "precision": 12, "default_quality": 40, "quality_steps": [[1, 60.0], [40, 16.0], [100, 2.0]],
        "floor": [4.0, 3, 3, 3, 2, 2], "model_steps": [16.0], "bound": [2000.0] * 6, "lambda": 0.1,
        "rounding": 0.4,
        "card": {"licence": "Apache-2.0", "fitted on": "nothing: it is for tests"},
    }  # fmt: skip
    tables = random_tables(3, models=2, channels=GROUP, tables=5, precision=12)
    tables[TABLES.index("predicted")][:] = [[1], [0]]  # groups of the second model may have the sparse form
    tensors: dict[str, Any] = {f"entropy.{name}": table for name, table in zip(TABLES, tables, strict=True)}
    flat = np.concatenate(rows).astype(np.float32)
    delta = np.array([[0.1, 0.05]] * 6, np.float32)
    classes = np.array(CLASSES, np.int8)
    return make_artifact(facts, {**tensors, "classes": classes, "analysis": flat, "synthesis": flat, "delta": delta})


def samples(codec: Codec) -> dict[str, tuple[np.ndarray, bytes]]:
    """Latents int8 (channels, h, w) and their sample blobs: every number of lanes, every kind of plane."""
    made = {}
    for name, kind, (height, width) in [
        ("one-pixel", "plain", (1, 1)), ("row", "strong", (3, 77)), ("column", "sparse", (90, 8)),
        ("sparse", "sparse", (200, 264)),
        ("zeros", "zeros", (64, 40)), ("extreme", "extreme", (52, 44)), ("escapes", "strong", (100, 60)),
        ("lanes-2", "sparse", (2600, 31)), ("lanes-4", "sparse", (288, 290)),
        ("lanes-8", "sparse", (1024, 128)), ("lanes-16", "sparse", (256, 1030)),
    ]:  # fmt: skip
        values = latent(len(made), kind, codec.channels, *codec.latent_shape(height, width)[1:])
        groups = codec.encode_latent_groups(values, 25)
        made[name] = values, codec.join_groups(groups, height, width)
    return made


def failures(sample: bytes, sha256: bytes) -> dict[str, tuple[str, bytes]]:
    """Bytes that must be refused, and with which error."""
    info = split_sample(sample)
    first, header = sample[info.starts[0] : info.ends[0]], sample[: info.starts[0] - 4]

    def with_group(group: bytes) -> bytes:
        """The sample with another first group, and a header that fits it."""
        sizes = len(sample) - info.starts[1], len(group)
        head = header[: len(header) - len(varint(len(first))) - len(varint(sizes[0]))]
        head += varint(sizes[1]) + varint(sizes[0])
        return head + crc32c(head).to_bytes(4, "little") + group + sample[info.ends[0] :]

    def with_header(at: int, value: int) -> bytes:
        head = header[:at] + bytes([value]) + header[at + 1 :]
        return head + crc32c(head).to_bytes(4, "little") + sample[info.starts[0] :]

    def forged(**changes: Any) -> bytes:
        return with_group(reseal(first, sha256, **changes))

    group = group_info(first)
    payload = first[group.header_bytes :]
    end = len(payload) - group.escapes
    assert with_group(first) == sample
    flipped = bytearray(sample)
    flipped[-1] ^= 1
    return {
        "header/empty": ("TruncatedError", b""),
        "header/cut-in-header": ("TruncatedError", sample[: info.starts[0] - 1]),
        "group/cut-in-group": ("TruncatedError", sample[:-1]),
        "header/longer": ("CorruptError", sample + b"\0"),
        "group/flipped-bit": ("CorruptError", bytes(flipped)),
        "header/magic": ("CorruptError", with_header(1, ord("T"))),
        "header/sample-version": ("UnsupportedVersionError", with_header(2, 0x20)),
        "header/mode": ("CorruptError", with_header(2, 0x12)),
        "header/mode-of-another-codec": ("ArtifactError", with_header(2, 0x11)),
        "header/artifact": ("ArtifactError", with_header(3, sample[3] ^ 255)),
        "header/no-width": ("CorruptError", with_header(5, 0)),
        "header/other-size": ("CorruptError", with_header(5, 77)),
        "group/group-version": ("UnsupportedVersionError", with_group(b"\x21" + first[1:])),
        "group/group-crc": ("CorruptError", with_group(first[:-1] + bytes([first[-1] ^ 1]))),
        "group/reserved-flag": ("CorruptError", forged(flags=first[0] & 15 | 4)),
        "group/sparse-and-predicted": ("CorruptError", forged(flags=first[0] & 15 | 2)),
        "group/reserved-quality": ("CorruptError", forged(quality=101)),
        "group/model": ("CorruptError", forged(model=2)),
        "group/a-word-less": ("TruncatedError", forged(payload=payload[: end - 2] + payload[end:])),
        "group/a-word-more": ("CorruptError", forged(payload=payload[:end] + b"\0\0" + payload[end:])),
    }


def write(folder: Path, name: str, content: bytes) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def main() -> None:
    missing = {levels: folder for levels, folder in FOLDERS.items() if not folder.exists()}
    if not missing:
        raise SystemExit("All folders exist: golden files of a version that was frozen are never made again.")
    for levels, folder in missing.items():
        make(folder, levels)


def make(folder: Path, levels: int) -> None:
    artifact = tiny_artifact(levels)
    codec = codec_from_bytes(artifact)
    folder.mkdir(parents=True)
    (folder / "artifact.safetensors").write_bytes(artifact)
    index: dict[str, dict[str, Any]] = {"decodes": {}, "fails": {}}
    for name, (values, blob) in samples(codec).items():
        write(folder, f"decodes/{name}.bin", blob)
        index["decodes"][f"decodes/{name}.bin"] = {
            "latent_shape": values.shape,
            "latent_sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            "pixels_sha256": hashlib.sha256(codec.decompress(blob, decoder="linear").tobytes()).hexdigest(),
        }
    forged = failures(samples(codec)["escapes"][1], bytes.fromhex(codec.sha256)) if levels == 3 else {}
    for name, (error, blob) in forged.items():
        write(folder, f"fails/{name}.bin", blob)
        index["fails"][f"fails/{name}.bin"] = error
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
