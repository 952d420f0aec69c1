"""Windows of recordings: they are what the whole recordings have there, and little else is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_made import chirp, write
from tiny_decoders import tiny_audio_parts
from torch_or_skip import torch

import latentstore
from latentstore.codecs.artifact.decoder import make_decoder, read_decoder
from latentstore.codecs.entropy.coder import EntropyCoder
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.neural.decoder import Decoder
from latentstore.loaders import Augment, LatentLoader

RATE, HOP = 8000, 32
LENGTHS = [70_000, 40_001, 33_000, 90_000, 500, 32 * 1024, 32 * 1024 + 1, 65_600]
"""Samples: several segments of 1,024 instants, one, and just one more; one shorter than any window here."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = {f"c{i}": (chirp(i, length), RATE) for i, length in enumerate(LENGTHS)}
    return write(tmp_path_factory.mktemp("clips"), **clips)


@pytest.fixture(scope="module", params=["zarr", "wds"])
def whole(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    url = tmp_path_factory.mktemp("whole") / "x"
    latentstore.convert(source, url, codec="mono-f32c32", format=request.param, progress=False)
    return latentstore.open(url, channels=16)


def test_windows_and_recordings_by_a_decoder(whole: Any) -> None:
    """Waveforms are refined; a window is what the refined recording has there, to rounding."""
    tiny = Decoder(read_decoder(make_decoder(*tiny_audio_parts(whole.codec))))
    plain = LatentLoader(whole, 1, output="waveforms", decoder=tiny)
    recordings = {batch["key"][0]: batch["waveform"][0] for batch in plain}
    for i, key in enumerate(whole.keys()):
        fields = {name: column[i : i + 1] for name, column in whole.fields(range(len(whole))).items()}
        latent, size = whole.read_latents([i])[0], tuple(whole.sizes([i])[0].tolist())
        expected = whole.codec.decode(latent[None], size=size[1], codes=whole.step_codes(fields), decoder=tiny)[0]
        assert np.array_equal(recordings[key].numpy(), expected)
    loader = LatentLoader(whole, 3, True, seed=5, output="waveforms", decoder=tiny, augment=Augment(crop=90))
    for batch in loader:
        for key, found, start, length in zip(
            batch["key"], batch["waveform"], batch["start"].tolist(), batch["lengths"].tolist(), strict=True
        ):
            np.testing.assert_allclose(found[:length], recordings[key][start : start + length], rtol=0, atol=1e-5)
    with pytest.raises(ArgumentError, match="decoder 'tiny' with output 'codes': only 'waveforms'"):
        LatentLoader(whole, 3, decoder=tiny)


@pytest.mark.parametrize("instants", [1, 90, 1024, 1500])
@pytest.mark.parametrize("output", ["codes", "latents", "waveforms"])
def test_windows_are_parts_of_the_whole(whole: Any, output: str, instants: int) -> None:
    """For latents the codes as stored, normalised; for waveforms the samples of the decoded recording, bit for bit."""
    loader = LatentLoader(whole, 3, True, seed=5, output=output, num_workers=2, augment=Augment(crop=instants))
    name, unit = ("waveform", 1) if output == "waveforms" else ("latent", HOP)
    plain = LatentLoader(whole, 1, output=output)
    recordings = {batch["key"][0]: batch[name][0] for batch in plain}
    seen = set()
    for _ in range(2):
        for batch in loader:
            longest = batch[name].shape[1 if output == "waveforms" else 2]
            assert longest == instants * HOP // unit
            rows = zip(batch["key"], batch[name], batch["start"].tolist(), batch["lengths"].tolist(), strict=True)
            for key, found, start, length in rows:
                assert start % HOP == 0
                if output == "waveforms":
                    expected = recordings[key][start : start + length]
                    assert torch.equal(found[:length], expected) and not found[length:].any()
                else:
                    expected = recordings[key][:, start // HOP : start // HOP + length]
                    assert torch.equal(found[:, :length], expected) and not found[:, length:].any()
                seen.add((key, start))
            assert torch.equal(batch["mask"].sum(1), batch["lengths"])
    assert len(seen) > len(LENGTHS)  # another epoch, other windows


def test_no_more_is_decoded_than_the_segments_that_are_needed(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = type(whole.codec.entropy).decode_rows

    def counting(self: EntropyCoder, blobs: Any, instants: np.ndarray, *rest: Any) -> Any:
        counted.append(int(instants.sum()))
        return original(self, blobs, instants, *rest)

    monkeypatch.setattr(type(whole.codec.entropy), "decode_rows", counting)
    index = whole.keys().index("c3")
    whole.read_windows(np.array([index]), np.array([1100]), np.array([1200]))
    assert counted == [1024 * whole.groups]
    whole.read_windows(np.array([index]), np.array([1000]), np.array([1100]))
    assert counted[1] == 2 * 1024 * whole.groups


def test_seconds_are_instants(whole: Any) -> None:
    found = next(iter(LatentLoader(whole, 2, augment=Augment(seconds=0.5))))
    assert found["latent"].shape == (2, 16, 125)
    same = next(iter(LatentLoader(whole, 2, augment=Augment(crop=125))))
    assert torch.equal(found["latent"], same["latent"]) and torch.equal(found["start"], same["start"])


def test_windows_repeat_and_go_on(whole: Any) -> None:
    options: dict[str, Any] = {"shuffle": True, "seed": 2, "augment": Augment(crop=100, channels=(4, 16))}
    first = [(b["key"], b["start"].tolist(), b["channels"].tolist()) for b in LatentLoader(whole, 2, **options)]
    loader = LatentLoader(whole, 2, **options)
    begun = iter(loader)
    next(begun), next(begun)
    other = LatentLoader(whole, 2, num_workers=2, **options)
    other.load_state_dict(loader.state_dict())
    rest = list(other)
    assert [(b["key"], b["start"].tolist(), b["channels"].tolist()) for b in rest] == first[2:]
    for batch in rest:
        for latent, kept in zip(batch["latent"], batch["channels"].tolist(), strict=True):
            assert not latent[kept:].any()


def test_windows_of_windows(source: Path, tmp_path: Path) -> None:
    """A store of windows of one length: there is nothing to pad."""
    latentstore.convert(source, tmp_path / "x.zarr", codec="mono-f32c32", seconds=0.4, progress=False)
    ds = latentstore.open(tmp_path / "x.zarr")
    batch = next(iter(LatentLoader(ds, 4, augment=Augment(crop=40))))
    assert batch["latent"].shape == (4, 32, 40) and "mask" not in batch
    for i, start in enumerate(batch["start"].tolist()):
        assert np.array_equal(batch["latent"][i], ds[i]["latent"][:, start // HOP : start // HOP + 40])
    with pytest.raises(ArgumentError, match=r"a window is 101 instants long, and the recordings of .* have 100"):
        LatentLoader(ds, 4, augment=Augment(crop=101))


def test_what_is_refused(whole: Any, tmp_path: Path) -> None:
    clips = write(tmp_path / "two", a=(chirp(0, 9000), 8000), b=(chirp(1, 9000), 16000))
    latentstore.convert(clips, tmp_path / "two.zarr", codec="mono-f32c32", progress=False)
    two = latentstore.open(tmp_path / "two.zarr")
    with pytest.raises(ArgumentError, match="of 8000 and of 16000 hertz"):
        next(iter(LatentLoader(two, 2, augment=Augment(seconds=0.2))))
    assert next(iter(LatentLoader(two, 2, augment=Augment(crop=50))))["latent"].shape == (2, 32, 50)
    for first, last in [(0, 0), (5, 4), (-1, 4), (0, 10**6)]:
        with pytest.raises(ArgumentError, match="not within its recording"):
            whole.read_windows(np.array([0]), np.array([first]), np.array([last]))


def test_a_damaged_segment_is_named(source: Path, tmp_path: Path) -> None:
    """By shard and key; where another segment is asked for, nobody notices."""
    latentstore.convert(source, tmp_path / "x.zarr", codec="mono-f32c32", progress=False)
    ds = latentstore.open(tmp_path / "x.zarr", channels=4)
    index = np.array([ds.keys().index("c3")])
    blobs = ds.fetch(index)
    blob = bytes(blobs[0])
    (path,) = [p for p in (tmp_path / "x.zarr").rglob("*") if p.is_file() and blob in p.read_bytes()]
    content = path.read_bytes()
    at = content.index(blob) + len(blob) - 20  # in the last segment
    path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    damaged = latentstore.open(tmp_path / "x.zarr", channels=4)
    assert damaged.read_windows(index, np.array([0]), np.array([900]))[0].shape == (4, 900)
    with pytest.raises(CorruptError, match=r"'c3'.*group 0"):
        damaged.read_windows(index, np.array([2700]), np.array([2800]))
