"""docs/format.md: its examples, decoders that follow it, and the golden files of every format version."""

from __future__ import annotations

import hashlib
import json
import re
from types import ModuleType
from typing import Any

import format_decoder
import numpy as np
import pytest
from paths import GOLDEN as GOLDEN_FILES
from paths import ROOT

from latentstore.codecs import Codec, codec_from_bytes, errors, load_codec, shipped
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.entropy.coder import TABLES
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in as reference

TEXT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
BACKENDS = [b for b in (reference, kernel) if b is not None]
GOLDEN = GOLDEN_FILES / "images"
VERSIONS = ("v1", "v1-levels-4")


# the text


def examples() -> list[bytes]:
    """The blobs in section 10."""
    section = TEXT[TEXT.index("## 10. Example") :]
    return [bytes.fromhex(found) for found in re.findall(r"```\n((?:[0-9a-f]{2} ?)+)\n```", section)]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.__name__.split(".")[-1])
def test_examples(backend: ModuleType) -> None:
    sha256 = bytes(range(32))
    zero, uint8 = np.int32, np.uint8
    tables: list[np.ndarray] = [
        np.zeros((1, 1, 5), zero), np.zeros((1, 1), zero), np.zeros((1, 1, 1, 2), uint8),
        np.zeros((1, 1), uint8), np.zeros((1, 1, 4), zero), np.zeros((1, 1, 1, 9), zero),
        np.zeros((1, 1, 4, 64), uint8), np.full((1, 64), 4, np.int32), np.full((1, 1024), 128, np.int32),
    ]  # fmt: skip
    coder = backend.coder_new(sha256, 8, *tables)
    values = np.array([[[0, 1, -1], [2, -40, 3]]], np.int8)
    group, sample, zeros = examples()
    assert backend.coder_encode(coder, 0, 50, values) == group
    assert backend.coder_encode(coder, 0, 50, np.zeros((1, 32, 32), np.int8)) == zeros
    assert join_sample([group], 20, 9, "L", sha256) == sample
    out = np.empty((1, 1, 2, 3), np.int8)
    at = np.zeros(1, np.int64)
    assert backend.coder_decode(coder, [group], at.astype(np.int32), at, at + len(group), out) == (0, -1)
    np.testing.assert_array_equal(out[0], values)
    info = group_info(group)
    states_and_words = np.frombuffer(group, "<u2", 4, info.header_bytes)
    assert states_and_words.tolist() == [0x027C, 0x0010, 0x5E80, 0x22FC]


def test_sections_that_code_names_exist() -> None:
    sections = set(re.findall(r"^## (\d+)\.", TEXT, re.M)) | set(re.findall(r"^\*\*(\d+\.\d+) ", TEXT, re.M))
    root = ROOT
    for source in [
        *root.glob("codecs/**/*.[chp]*"),
        *root.glob("loaders/*.py"),
        *root.glob("latentstore/*.py"),
    ]:
        if source.suffix not in (".py", ".c", ".h"):
            continue
        for named in re.findall(r"format\.md,? sections? ([0-9., and]+)", source.read_text(encoding="utf-8")):
            for number in re.findall(r"\d+(?:\.\d+)?", named):
                assert number in sections, f"{source} names section {number} of docs/format.md"


IMAGES = [name for name in shipped() if load_codec(name).mode != "audio"]


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [(1, 1), (24, 33)])
def test_images_are_rebuilt_as_the_text_says(name: str, size: tuple[int, int]) -> None:
    codec = load_codec(name)
    rng = np.random.default_rng(5)
    latent = np.rint(rng.laplace(0, 3, codec.latent_shape(*size))).clip(-127, 127).astype(np.int8)
    for quality, channels in [(1, codec.channels), (37, codec.channels), (100, 5)]:
        expected = format_decoder.image(codec.artifact_bytes, latent[:channels], quality, *size)
        got = codec.decode(latent[None, :channels], quality=quality, size=size, decoder="linear")[0]
        np.testing.assert_array_equal(got, expected)


def test_steps_of_every_quality_are_as_the_text_says() -> None:
    for name in shipped():
        codec = load_codec(name)
        facts, _ = format_decoder.read_artifact(codec.artifact_bytes)
        for quality in range(1, 101):
            np.testing.assert_array_equal(codec.scale(quality), format_decoder.scale(facts, quality))


# golden files


def golden(version: str) -> tuple[Codec, dict[str, Any]]:
    folder = GOLDEN / version
    codec = codec_from_bytes((folder / "artifact.safetensors").read_bytes())
    return codec, json.loads((folder / "index.json").read_text(encoding="utf-8"))


def names(which: str) -> list[Any]:
    return [
        pytest.param(version, name, id=f"{version}-{name}")
        for version in VERSIONS
        for name in json.loads((GOLDEN / version / "index.json").read_text(encoding="utf-8"))[which]
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_golden_file_is_missing_or_left_over(version: str) -> None:
    _, index = golden(version)
    there = {path.relative_to(GOLDEN / version).as_posix() for path in (GOLDEN / version).rglob("*.*")}
    assert there == set(index["decodes"]) | set(index["fails"]) | {"index.json", "artifact.safetensors"}
    assert {path.name for path in GOLDEN.iterdir()} == set(VERSIONS)


@pytest.mark.parametrize(("version", "name"), names("decodes"))
def test_golden_blobs_decode(version: str, name: str) -> None:
    codec, index = golden(version)
    expected = index["decodes"][name]
    blob = (GOLDEN / version / name).read_bytes()
    latent = codec.read_latent(blob)
    assert list(latent.shape) == expected["latent_shape"]
    assert hashlib.sha256(latent.tobytes()).hexdigest() == expected["latent_sha256"]
    assert hashlib.sha256(codec.decompress(blob, decoder="linear").tobytes()).hexdigest() == expected["pixels_sha256"]
    info = split_sample(blob)
    if latent[0].size < 3000:
        assert (reference_latent(codec, blob) == latent).all()
    if info.width * info.height < 9000:
        quality = blob[info.starts[0] + 2]
        pixels = format_decoder.image(codec.artifact_bytes, latent, quality, info.height, info.width)
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == expected["pixels_sha256"]
    # encoders may choose other integers, but the same integers give the same bytes
    groups = codec.encode_latent_groups(latent, blob[info.starts[0] + 2])
    assert codec.join_groups(groups, info.height, info.width) == blob


def reference_latent(codec: Codec, blob: bytes) -> np.ndarray:
    """The latent by the reference, whatever the codec runs on."""
    tensors = codec.artifact.tensors
    tables = [tensors[f"entropy.{name}"] for name in TABLES]
    coder = reference.coder_new(bytes.fromhex(codec.sha256), codec.artifact.facts["precision"], *tables)
    info = split_sample(blob)
    n = codec.groups
    out = np.empty((n, codec.group_channels, *codec.latent_shape(info.height, info.width)[1:]), np.int8)
    starts, ends = np.array(info.starts), np.array(info.ends)
    source = np.zeros(n, np.int32)
    assert reference.coder_decode(coder, [blob], source, starts, ends - starts, out) == (0, -1)
    return out.reshape(codec.channels, *codec.latent_shape(info.height, info.width)[1:])


@pytest.mark.parametrize(("version", "name"), names("fails"))
def test_golden_failures_fail(version: str, name: str) -> None:
    codec, index = golden(version)
    blob = (GOLDEN / version / name).read_bytes()
    with pytest.raises(errors.LatentstoreError) as caught:
        codec.decompress(blob, decoder="linear")
    assert type(caught.value).__name__ == index["fails"][name]
