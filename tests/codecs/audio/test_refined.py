"""Decoders of audio at work: they change samples and nothing else, piece by piece as whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_decoders import tiny_audio_parts, tiny_parts

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.audio import refined
from latentstore.codecs.audio.lapped import mdct_basis
from latentstore.codecs.audio.refined import Bands
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.neural.decoder import Decoder, shipped_decoders

CODECS = ("mono-f32c32", "stereo-f256c108")


def decoder_of(codec: Any, **changes: Any) -> Decoder:
    return Decoder(read_decoder(make_decoder(*tiny_audio_parts(codec, **changes))))


def tones(codec: Any, samples: int, noise: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(samples)[:, None] / codec.rate
    waves = sum(np.sin(2 * np.pi * (200 + 300 * i) * time + rng.normal()) / (i + 1) for i in range(4))
    return (0.1 * waves + rng.normal(0, noise, (samples, codec.in_channels))).astype(np.float32)


@pytest.fixture(scope="module", params=CODECS)
def codec(request: pytest.FixtureRequest) -> Any:
    return latentstore.load_codec(request.param)


def test_samples_change_and_blobs_do_not(codec: Any) -> None:
    tiny, signal = decoder_of(codec), tones(codec, 30 * codec.reduction + 7)
    blob = codec.compress(signal)
    linear, changed = codec.decompress(blob), codec.decompress(blob, decoder=tiny)
    assert changed.shape == signal.shape and changed.dtype == np.float32
    assert np.abs(changed - linear).max() > 1e-4
    latent, code = codec.read_latent(blob)[None], codec.sample_fields([blob[codec.info(blob).starts[0] :]])["step"]
    again = codec.decode(latent, size=len(signal), codes=[code], decoder=tiny)[0]
    np.testing.assert_array_equal(again, changed)
    np.testing.assert_array_equal(codec.decompress(blob, decoder="linear"), linear)


def test_any_part_is_as_in_the_whole(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding: sums are as long, but in another order."""
    tiny, n = decoder_of(codec), 40 * codec.reduction - 5
    blob = codec.compress(tones(codec, n))
    whole = codec.decompress(blob, decoder=tiny)
    monkeypatch.setattr(refined, "TILE", 3)
    np.testing.assert_allclose(codec.decompress(blob, decoder=tiny), whole, rtol=0, atol=1e-5)
    for start, stop in ((0, 1), (n - 1, n), (0, n), (3, codec.reduction), (9 * codec.reduction, 20 * codec.reduction)):
        part = codec.decompress(blob, start=start, stop=stop, decoder=tiny)
        np.testing.assert_allclose(part, whole[start:stop], rtol=0, atol=1e-5)
    assert codec.decompress(blob, start=5, stop=5, decoder=tiny).shape == (0, codec.in_channels)


def test_bands_become_samples_as_the_kernel_makes_them(codec: Any) -> None:
    """The bands of the linear decoder, where all are held, give the linear decoder's samples, ends included."""
    signal = tones(codec, 12 * codec.reduction)
    latent, t = codec.encode(signal[None])[0, :, 0], 12
    code = codec.step_code(float(np.sqrt(np.mean(np.square(signal)))))
    every = (codec.reduction,) * codec.in_channels
    bands = Bands(codec.lapped, every, codec.steps, codec._delta, codec.step())
    values = bands.linear(latent, code) * np.float32(refined.step_of(code))
    linear = codec.decode(latent[None, :, None], codes=[code])[0]
    for start, stop in ((0, len(signal)), (1, 2), (codec.reduction * 3 - 1, codec.reduction * 12 - 4)):
        found = bands.samples(values, 0, t, start, stop)
        np.testing.assert_allclose(found, linear[start:stop], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mdct_basis(8) @ mdct_basis(8).T, np.eye(8), atol=1e-12)


def test_an_answer_of_zero_is_the_linear_signal(codec: Any) -> None:
    facts, tensors = tiny_audio_parts(codec)
    tensors["deviation"][:] = 0
    zero = Decoder(read_decoder(make_decoder(facts, tensors)))
    blob = codec.compress(tones(codec, 20 * codec.reduction))
    for kept in (codec.group_channels, codec.channels):
        np.testing.assert_array_equal(codec.decompress(blob, kept, decoder=zero), codec.decompress(blob, kept))


def test_outside_its_channels_the_linear_one_decodes(codec: Any) -> None:
    tiny = decoder_of(codec, prefixes=[codec.channels, codec.channels])
    blob = codec.compress(tones(codec, 20 * codec.reduction))
    np.testing.assert_array_equal(codec.decompress(blob, 8, decoder=tiny), codec.decompress(blob, 8))


@pytest.mark.parametrize(("name", "channels"), [("mono-f32c32", (8, 16, 32)), ("stereo-f256c108", (27, 54, 108))])
def test_the_shipped_decoders_gain(name: str, channels: tuple[int, ...]) -> None:
    """On tones, which they have never heard."""
    shipped = shipped_decoders(name, latentstore.load_codec(name).sha256)
    assert sorted(shipped) == ["small"]
    assert {"trained on", "licence", "measured"} <= set(shipped["small"].card)
    assert len(shipped["small"].file.content) < 1_000_000
    codec: Any = latentstore.load_codec(name)
    signal = tones(codec, codec.rate, 1e-3)
    blob = codec.compress(signal)
    for kept in channels:
        errors = [
            np.square(signal - codec.decompress(blob, kept, decoder=which), dtype=np.float64).sum()
            for which in ("linear", "small")
        ]
        assert errors[1] < 0.98 * errors[0]


def test_a_store_is_exported_by_it(codec: Any, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "clips").mkdir()
    signal = tones(codec, 9 * codec.reduction)
    soundfile.write(tmp_path / "clips" / "a.wav", signal, codec.rate)
    latentstore.convert(tmp_path / "clips", tmp_path / "x.zarr", codec=codec.name, progress=False)
    assert main(["export", str(tmp_path / "x.zarr"), str(tmp_path / "out"), "--decoder", "small"]) == 0
    found = soundfile.read(tmp_path / "out" / "a.wav", dtype="float32", always_2d=True)[0]
    ds = latentstore.open(tmp_path / "x.zarr")
    steps = ds.step_codes(ds.fields([0]))
    linear, small = (
        ds.decode(ds.read_latents([0]), (1, len(signal)), steps, which)[0] for which in ("linear", "small")
    )
    np.testing.assert_allclose(found, small, rtol=0, atol=1e-4)
    assert np.abs(linear - small).max() > 1e-3


def test_decoders_that_do_not_fit(codec: Any) -> None:
    photos = latentstore.load_codec("rgb-f8c48")
    facts, tensors = tiny_parts(photos)
    facts |= {"codec": codec.name, "codec_sha256": codec.sha256}
    image = Decoder(read_decoder(make_decoder(facts, tensors)))
    blob = codec.compress(tones(codec, 20 * codec.reduction))
    with pytest.raises(ArgumentError, match=f"'tiny' is not of recordings; {codec.name} is"):
        codec.decompress(blob, decoder=image)
    facts, tensors = tiny_audio_parts(codec)
    facts |= {"codec": photos.name, "codec_sha256": photos.sha256}
    with pytest.raises(ArgumentError, match="'tiny' is not of images; rgb-f8c48 is"):
        photos.decode(np.zeros((1, 48, 1, 1), np.int8), decoder=Decoder(read_decoder(make_decoder(facts, tensors))))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bands", [], "bands of its network"),
        ("bands", [6], "multiples of 4"),
        ("bands", [1 << 30], "multiples of 4"),
        ("width", 0, "width of its network"),
        ("more", 1, "network is"),
        ("blocks", 2, "missing or not expected"),
    ],
)
def test_files_that_contradict(key: str, value: Any, message: str) -> None:
    facts, tensors = tiny_audio_parts(latentstore.load_codec(CODECS[0]))
    facts["network"][key] = value
    with pytest.raises(ArtifactError, match=f"the decoder contradicts itself: .*{message}"):
        make_decoder(facts, tensors)


def test_bands_of_another_codec_are_refused() -> None:
    """A file can name any codec, so its bands may be more than that codec has."""
    facts, tensors = tiny_audio_parts(latentstore.load_codec("stereo-f256c108"))
    mono = latentstore.load_codec("mono-f32c32")
    facts |= {"codec": mono.name, "codec_sha256": mono.sha256}
    with pytest.raises(ArgumentError, match="Its bands are"):
        mono.decode(
            np.zeros((1, 32, 1, 1), np.int8), codes=[200], decoder=Decoder(read_decoder(make_decoder(facts, tensors)))
        )
