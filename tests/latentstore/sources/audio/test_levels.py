"""What the report tells of levels: silence, another scale, channels that cancel, resampling."""

from __future__ import annotations

import numpy as np
import pytest
from audio_made import chirp, encoded

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio import reader as clips
from latentstore.sources.audio.levels import Levels, require_scale
from latentstore.sources.audio.reader import AudioReader, read_audio

RATE = 8000


def told(audio: np.ndarray, inputs: int = 1, subtype: str = "FLOAT", rate: int | None = None) -> dict[str, str]:
    """Remarks of a whole recording: detail by kind."""
    with AudioReader(encoded(audio, RATE, subtype=subtype), inputs, rate) as reader:
        reader.read(0, reader.samples)
        return {remark.kind: remark.detail for remark in reader.levels.remarks()}


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(0, {"silent"}), (1e-5, {"faint"}), (1e-4, {"faint"}), (1e-3, set()), (1, set()), (4, {"beyond-full-scale"})],
)
def test_levels(gain: float, expected: set[str]) -> None:
    assert set(told(gain * chirp(1, 3000))) == expected


def test_clipping() -> None:
    loud = np.clip(4 * chirp(1, 3000), -1, 32767 / 32768)
    assert told(loud, subtype="PCM_16")["clipped"].endswith(" samples")
    once = chirp(1, 3000)
    assert told(once / np.abs(once).max(), subtype="PCM_16") == {}


def test_channels_that_cancel() -> None:
    left, noise = chirp(1, 3000), np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32) / 10
    assert set(told(np.hstack([left, -left]))) == {"cancelled"}
    assert told(np.hstack([left, -0.8 * left]))["cancelled"].startswith("-1")
    for other in (left, 0 * left, -0.3 * left):
        assert told(np.hstack([left, other])) == {}
    assert told(noise) == {}
    assert told(np.hstack([left, -left]), inputs=2) == {}
    assert set(told(np.zeros((3000, 2)))) == {"silent"}


def test_only_the_windows_that_cancel_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "BLOCK", 500)
    left = chirp(1, 4000)
    right = np.where(np.arange(4000)[:, None] < 2000, left, -left)
    found = []
    with AudioReader(encoded(np.hstack([left, right]), RATE, subtype="FLOAT"), 1) as reader:
        for start in range(0, 4000, 250):
            reader.begin_levels()
            reader.read(start, start + 250)
            found.append([remark.kind for remark in reader.levels.remarks()])
    assert found == [[]] * 8 + [["cancelled"]] * 8


@pytest.mark.parametrize(("scale", "bits"), [(100, 8), (30_000, 16), (8e6, 24), (2e9, 32), (1e12, 0)])
def test_another_scale_is_refused(scale: float, bits: int) -> None:
    for subtype in ("FLOAT", "DOUBLE"):
        with pytest.raises(AudioError, match="full scale is 1") as caught:
            read_audio(encoded(scale * chirp(1, 3000) / 0.45, RATE, subtype=subtype), 1)
        assert (f"{bits}-bit integers" in str(caught.value)) == (bits > 0)


def test_the_scale_of_a_recording_is_that_of_all_its_windows() -> None:
    audio = chirp(1, 200_000)
    audio[:150_000] *= 1e-4  # quiet windows of a recording in the scale of 16 bits
    data = encoded(32768 * audio, RATE, subtype="FLOAT")
    with AudioReader(data, 1) as reader:
        assert reader.read(0, 1000).max() < 16
        with pytest.raises(AudioError, match="16-bit"):
            reader.check_scale()
    with AudioReader(32768 * audio, 1, own=RATE) as reader, pytest.raises(AudioError, match="16-bit"):
        reader.check_scale()
    for fine in (encoded(audio, RATE, subtype="FLOAT"), encoded(audio, RATE), (audio * 32767).astype(np.int16)):
        with AudioReader(fine, 1, own=RATE) as reader:
            reader.check_scale()
            assert len(reader.read(0, 1000)) == 1000


def test_what_is_no_number_is_not_a_scale() -> None:
    audio = chirp(1, 3000)
    audio[2000] = np.inf
    with AudioReader(encoded(audio, RATE, subtype="FLOAT"), 1) as reader:
        reader.check_scale()
        assert len(reader.read(0, 1000)) == 1000
        with pytest.raises(AudioError, match="sample 2,000 is not a finite number"):
            reader.read(1000, 3000)


def test_the_bound_of_a_scale() -> None:
    require_scale(16)
    with pytest.raises(AudioError, match="its samples reach 17"):
        require_scale(17)


def test_levels_add_up_over_blocks() -> None:
    levels = Levels()
    for part in np.array_split(chirp(1, 3000), 7):
        assert levels.add(part)
    assert levels.peak == np.abs(chirp(1, 3000)).max()
    assert not levels.add(np.array([[1], [np.nan]], np.float32))


@pytest.mark.parametrize("own", [7350, 11025, 192_000, 1])
def test_odd_rates(own: int) -> None:
    samples, rate = read_audio(encoded(chirp(1, 3000), own), 1)
    assert (len(samples), rate) == (3000, own)


def test_a_rate_that_is_too_far_away() -> None:
    for own in (1, 100_000_000):
        data = encoded(chirp(1, 3000), 8000).replace(b"\x40\x1f\0\0\x80\x3e\0\0", own.to_bytes(4, "little") * 2, 1)
        with pytest.raises(AudioError, match="too far from the 44,100 hertz"):
            read_audio(data, 1, 44100)
