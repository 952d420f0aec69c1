"""docs/format-audio.md against the code: golden blobs, and sections S3 and S6 written out once more."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from paths import GOLDEN as GOLDEN_FILES

from latentstore.codecs import AudioCodec, codec_from_bytes, load_codec, native
from latentstore.codecs.audio.steps import step_of
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import CorruptError
from latentstore.codecs.modality import AUDIO
from latentstore.codecs.reference.header import RefusedError, parse_group

GOLDEN = GOLDEN_FILES / "audio" / "v1"
INDEX = json.loads((GOLDEN / "index.json").read_text())


def golden_codec() -> AudioCodec:
    codec = codec_from_bytes((GOLDEN / "artifact.safetensors").read_bytes())
    assert isinstance(codec, AudioCodec)
    return codec


@pytest.mark.parametrize("name", INDEX)
def test_golden_blobs(name: str) -> None:
    codec, expected = golden_codec(), INDEX[name]
    blob = (GOLDEN / f"{name}.bin").read_bytes()
    info = codec.info(blob)
    assert (info.width, info.rate) == (expected["samples"], expected["rate"])
    latent, signal = codec.read_latent(blob), codec.decompress(blob)
    if (GOLDEN / f"{name}-latent.npy").exists():
        np.testing.assert_array_equal(latent, np.load(GOLDEN / f"{name}-latent.npy"))
        np.testing.assert_array_equal(signal, np.load(GOLDEN / f"{name}-signal.npy"))
    assert hashlib.sha256(latent.tobytes()).hexdigest() == expected["latent_sha256"]
    assert hashlib.sha256(signal.astype("<f4").tobytes()).hexdigest() == expected["signal_sha256"]
    again = codec.join_groups(codec.encode_latent_groups(latent, 60, expected["step"]), 1, info.width, info.rate)
    assert again == blob


def test_golden_blobs_without_the_kernel() -> None:
    """The same by the reference, in a process that has no kernel."""
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); sys.modules['latentstore.codecs._kernel'] = None\n"
        "import hashlib, json; from pathlib import Path\n"
        "from latentstore.codecs import codec_from_bytes, native\n"
        "assert native.kernel is None\n"
        "folder = Path(sys.argv[1]); codec = codec_from_bytes((folder / 'artifact.safetensors').read_bytes())\n"
        "for name in ('one-sample', 'short', 'zeros', 'extreme', 'segments'):\n"
        "    blob = (folder / f'{name}.bin').read_bytes()\n"
        "    latent, signal = codec.read_latent(blob), codec.decompress(blob)\n"
        "    print(name, hashlib.sha256(latent.tobytes()).hexdigest(), hashlib.sha256(signal.tobytes()).hexdigest())\n"
        "    groups = [blob[a:b] for a, b in zip(codec.info(blob).starts, codec.info(blob).ends)]\n"
        "    assert codec.encode_latent_groups(latent, 60, codec.sample_fields(groups)['step']) == groups\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(GOLDEN)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert native.kernel is not None, "this test compares the reference with files that the kernel made"
    for line in done.stdout.splitlines():
        name, latent, signal = line.split()
        assert (latent, signal) == (INDEX[name]["latent_sha256"], INDEX[name]["signal_sha256"])


def test_section_s3_step_codes() -> None:
    for s in range(1, 256):
        for level_code in (1, 2, 81, 127):
            step = 2 ** ((s - 224) / 8) * 2 ** ((1 - level_code) / 4)
            assert math.isclose(step_of(s + 256 * (level_code - 1)), step)


@pytest.mark.parametrize(("place", "value"), [(3, 0), (3, 128 + 0), (3, 128 + 8)])
def test_level_codes_are_1_to_127(place: int, value: int) -> None:
    """Kernel, reference and headers refuse others; the checksum holds."""
    codec = golden_codec()
    group = bytearray(codec.encode_latent_groups(np.zeros((6, 1, 5), np.int8), 60, 180)[0])
    assert group[2:5] == bytes([180, 1, 5])
    group[place : place + 1] = bytes([value]) if value < 128 else bytes([value, 1])
    end = len(group) - 4
    group[end:] = crc32c(bytes(group[:end]), crc32c(codec.fingerprint)).to_bytes(4, "little")
    out = np.empty((1, 3, 1, 5), np.int8)
    with pytest.raises(CorruptError):
        codec.read_groups(Blobs.whole([bytes(group)]), out)
    with pytest.raises(CorruptError):
        group_info(bytes(group), codec.fingerprint, AUDIO)
    with pytest.raises(RefusedError):
        parse_group(bytes(group), codec.fingerprint, adaptive=True)


@pytest.mark.parametrize("name", ["stereo-f256c108", "mono-f32c32"])
@pytest.mark.parametrize(("samples", "level_code"), [(1, 1), (40, 18), (700, 1), (700, 81)])
def test_signals_are_rebuilt_as_section_s6_says(name: str, samples: int, level_code: int) -> None:
    """Sample by sample and in double precision; the code is in single, and agrees to its rounding."""
    codec = load_codec(name)
    assert isinstance(codec, AudioCodec)
    tensors, hop = codec.artifact.tensors, codec.reduction
    t, m = -(-samples // hop), hop // 2
    rng = np.random.default_rng(3)
    latent = np.rint(rng.laplace(0, 2, (codec.channels, 1, t))).clip(-127, 127).astype(np.int8)
    s = 190
    places = np.zeros((codec.in_channels, (t + 1) * hop))
    for k, row in enumerate(latent[:, 0].tolist()):
        scale = max(2 ** ((s - 224) / 8), codec.artifact.facts["floor"][k]) * 2 ** ((1 - level_code) / 4)
        for i, q in enumerate(row):
            if q:
                size = abs(q) - float(tensors["delta"][k][0 if abs(q) == 1 else 1])
                value = math.copysign(size * scale, q)
                places[tensors["source"][k], i * hop : (i + 2) * hop] += value * tensors["basis"][k]
    fold = [math.sin(math.pi * (2 * j + 1) / (4 * hop)) for j in range(hop)]
    for mixed in places:
        y = mixed[m : m + t * hop]
        before, after, old = mixed[:m][::-1].copy(), mixed[m + t * hop :].copy(), y.copy()
        last = t * hop - 1
        for j in range(m):
            y[j] = fold[m + j] * old[j] - fold[m - 1 - j] * before[j]
        old = y.copy()
        for j in range(m):
            y[last - j] = fold[m + j] * old[last - j] + fold[m - 1 - j] * after[j]
    expected = (tensors["mix"].astype(np.float64).T @ places[:, m : m + samples]).T
    got = codec.decode(latent[None], codes=[s + 256 * (level_code - 1)], size=samples)[0]
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
