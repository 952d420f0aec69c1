"""Decoders at work: they change pixels and nothing else, tile by tile as whole, and only where they were trained."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_images import drawn, psnr, shapes
from tiny_decoders import tiny_parts

import latentstore
from latentstore.codecs.artifact.decoder import make_decoder
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.neural import decoder as module
from latentstore.codecs.neural.decoder import Decoder, load_decoder, shipped_decoders


@pytest.fixture(scope="module")
def tiny(codec: Any, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    path = tmp_path_factory.mktemp("decoder") / "tiny.safetensors"
    path.write_bytes(make_decoder(*tiny_parts(codec)))
    return load_decoder(path)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return drawn("photo", 100, 133, 3, 3)


def test_pixels_change_and_blobs_do_not(codec: Any, tiny: Decoder, image: np.ndarray) -> None:
    blob = codec.compress(image)
    linear, refined = codec.decompress(blob, decoder="linear"), codec.decompress(blob, decoder=tiny)
    assert refined.shape == image.shape and refined.dtype == np.uint8
    assert (refined != linear).mean() > 0.2
    latent = codec.read_latent(blob)
    np.testing.assert_array_equal(codec.decode(latent[None], size=(100, 133), decoder=tiny)[0], refined)
    assert pickle.loads(pickle.dumps(tiny)).sha256 == tiny.sha256


def test_an_answer_of_zero_is_the_linear_image(codec: Any, image: np.ndarray) -> None:
    facts, tensors = tiny_parts(codec)
    tensors["deviation"][:] = 0
    zero = Decoder(module.read_decoder(make_decoder(facts, tensors)))
    for kept in (12, 17, 48):
        blob = codec.compress(image)
        np.testing.assert_array_equal(codec.decompress(blob, kept, zero), codec.decompress(blob, kept, "linear"))


def test_tiles_change_nothing(codec: Any, tiny: Decoder, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    latent = codec.encode(image[None])[0]
    whole = tiny.refinement(latent, codec.step())
    monkeypatch.setattr(module, "TILE", 5)
    np.testing.assert_array_equal(tiny.refinement(latent, codec.step()), whole)


def test_where_it_was_not_trained_the_linear_one_decodes(codec: Any, tiny: Decoder, image: np.ndarray) -> None:
    for kept, quality in ((11, 49), (48, 9), (48, 76)):
        blob = codec.compress(image, quality)
        np.testing.assert_array_equal(codec.decompress(blob, kept, tiny), codec.decompress(blob, kept, "linear"))


@pytest.mark.parametrize(
    ("name", "best"),
    [("rgb-f8c48", "large"), ("rgb-f16c48", "small"), ("gray-f8c16", "small"), ("mono-f32c32", "small")],
)
def test_what_is_used_where_none_is_asked_for(name: str, best: str) -> None:
    """The best of images; the linear one of audio, which keeps silence silent."""
    codec = latentstore.load_codec(name)
    chosen, left_out = codec.decoder("best"), codec.decoder(None)
    assert chosen is not None and chosen.name == best
    assert left_out is (chosen if codec.modality.name == "image" else None)


def test_what_is_left_out_gains(codec: Any, image: np.ndarray) -> None:
    blob = codec.compress(image)
    left_out = codec.decompress(blob)
    np.testing.assert_array_equal(left_out, codec.decompress(blob, decoder="large"))
    np.testing.assert_array_equal(left_out, codec.decode(codec.read_latent(blob)[None], size=image.shape[:2])[0])


def test_a_codec_without_a_decoder_is_linear(other_artifact: bytes, image: np.ndarray) -> None:
    other = latentstore.codecs.codec_from_bytes(other_artifact)
    assert other.decoder("best") is None
    blob = other.compress(image)
    np.testing.assert_array_equal(other.decompress(blob), other.decompress(blob, decoder="linear"))


@pytest.mark.parametrize("name", ["gray-f8c16", "rgb-f16c48"])
def test_other_codecs_have_decoders_too(name: str, image: np.ndarray) -> None:
    other = latentstore.load_codec(name)
    own = Decoder(module.read_decoder(make_decoder(*tiny_parts(other))))
    given = image[..., : other.in_channels]
    blob = other.compress(given)
    refined = other.decompress(blob, decoder=own)
    assert refined.shape == given.shape
    assert (refined != other.decompress(blob, decoder="linear")).any()


@pytest.mark.parametrize(
    ("name", "decoders", "prefixes"),
    [
        ("rgb-f8c48", ["large", "small"], (12, 24, 48)),
        ("rgb-f16c48", ["small"], (24, 48)),
        ("gray-f8c16", ["small"], (8, 16)),
    ],
)
def test_the_shipped_decoders_gain(name: str, decoders: list[str], prefixes: tuple[int, ...]) -> None:
    """On an image that they have never seen."""
    codec = latentstore.load_codec(name)
    shipped = shipped_decoders(name, codec.sha256)
    assert sorted(shipped) == decoders
    image = shapes(192, 256)[..., : codec.in_channels]
    blob = codec.compress(image)
    for which, most in zip(reversed(decoders), (12_000, 60_000), strict=False):
        assert {"trained on", "licence", "measured"} <= set(shipped[which].card)
        assert len(shipped[which].file.content) < 4_000_000
        assert shipped[which].file.shape.operations / codec.reduction**2 <= most
        for kept in prefixes:
            assert (
                psnr(codec.decompress(blob, kept, which), image)
                > psnr(codec.decompress(blob, kept, "linear"), image) + 0.1
            )


def test_every_shipped_decoder_has_its_codec() -> None:
    for path in (Path(module.__file__).parent / "trained").glob("*.safetensors"):
        decoder = load_decoder(path)
        assert path.name == f"{decoder.codec}.{decoder.name}.safetensors"
        assert latentstore.load_codec(decoder.codec).sha256 == decoder.codec_sha256


def test_decoders_that_cannot_be_meant(codec: Any, other_artifact: bytes, tiny: Decoder, tmp_path: Path) -> None:
    latents = np.zeros((1, 48, 2, 2), np.int8)
    with pytest.raises(
        ArgumentError, match=r"decoder is 'huge'; for rgb-f8c48 it is one of best, linear, .*load_decoder"
    ):
        codec.decode(latents, decoder="huge")
    other = latentstore.codecs.codec_from_bytes(other_artifact)
    with pytest.raises(ArgumentError, match=r"'tiny' belongs to rgb-f8c48, SHA-256 .*; this codec is other, "):
        other.decode(latents, decoder=tiny)
    audio = latentstore.load_codec("mono-f32c32")
    with pytest.raises(ArgumentError, match="'huge'; for mono-f32c32 it is one of best, linear, small, or"):
        audio.decode_samples(np.zeros((1, 32, 1, 4), np.int8), 49, (1, 128), None, "huge")
    with pytest.raises(ArgumentError, match="the file is not there"):
        load_decoder(tmp_path / "none.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_decoder(tmp_path)


@pytest.mark.parametrize("key", ["channels", "planes"])
def test_a_network_of_another_shape_is_refused(codec: Any, key: str) -> None:
    """A file that names this codec, and whose network is not of its latents or bands."""
    other = latentstore.load_codec("gray-f8c16")
    facts, tensors = tiny_parts(other if key == "channels" else latentstore.load_codec("rgb-f16c48"))
    facts |= {"codec": codec.name, "codec_sha256": codec.sha256}
    wrong = Decoder(module.read_decoder(make_decoder(facts, tensors)))
    with pytest.raises(ArgumentError, match=r"'tiny' is of .* planes; rgb-f8c48 has 48 and 192"):
        codec.decode(np.zeros((1, 48, 2, 2), np.int8), decoder=wrong)


def test_decoders_need_numpy_alone() -> None:
    code = (
        "import sys, numpy; from latentstore.codecs import load_codec; c = load_codec('rgb-f8c48');"
        "c.decompress(c.compress(numpy.zeros((8, 8, 3), 'u1')), decoder='small');"
        "print([m for m in ('torch', 'PIL', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_a_store_is_decoded_and_exported_by_it(codec: Any, tiny: Decoder, image: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    from latentstore.cli.main import main

    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    latentstore.convert(tmp_path / "in", tmp_path / "x.zarr", size="native", progress=False)
    ds = latentstore.open(tmp_path / "x.zarr")
    expected = codec.decompress(codec.compress(image), decoder=tiny)
    decoded = ds.decode(ds[0]["latent"][None], (100, 133), decoder=tiny)[0]
    np.testing.assert_array_equal(decoded, expected)
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(tiny.file.content)
    assert main(["export", str(tmp_path / "x.zarr"), str(tmp_path / "out"), "--decoder", str(path)]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), expected)
    assert main(["export", str(tmp_path / "x.zarr"), str(tmp_path / "other"), "--decoder", "huge"]) == 2
    assert not (tmp_path / "other").exists()
