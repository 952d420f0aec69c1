"""Headers that do not agree with their file: all of the audio is read, in its place, or the file is refused."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import odd_audio as odd
import pytest
from audio_made import chirp, encoded
from odd_lengths import DATA, FMT, FRAMES, INFO, MP3, OPUS, READ, REFUSED, VORBIS, WHOLE

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio import files
from latentstore.sources.audio.files import audio_length
from latentstore.sources.audio.reader import AudioReader, read_audio

RATE = 8000


def read(data: bytes, inputs: int = 1) -> np.ndarray:
    """All samples (n,) of a file of one channel, whose length without reading it is the same."""
    samples, _ = read_audio(data, inputs)
    for near in (True, False):
        assert audio_length(io.BytesIO(data), near).samples == len(samples)
    return samples[:, 0]


def refused(data: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(data, 1)
    return str(caught.value)


@pytest.mark.parametrize("name", READ)
def test_all_of_it_is_read(name: str) -> None:
    assert np.array_equal(read(READ[name]), WHOLE)


@pytest.mark.parametrize("name", READ)
def test_any_part_of_it_is_in_its_place(name: str) -> None:
    with AudioReader(READ[name], 1) as reader:
        for start, stop in ((0, 10), (5000, 5100), (odd.SAMPLES - 7, odd.SAMPLES)):
            assert np.array_equal(reader.read(start, stop)[:, 0], WHOLE[start:stop])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    data, words = REFUSED[name]
    assert words in refused(data)


def test_many_chunks_end() -> None:
    data = odd.riff(odd.chunk(b"JUNK", b"") * 5000, FMT, DATA)
    assert "more than 4096 chunks" in refused(data)


# ---- coded audio


@pytest.mark.parametrize(
    ("tag", "bits", "dtype"), [(1, 8, "u1"), (1, 24, ""), (1, 32, "<i4"), (3, 32, "<f4"), (3, 64, "<f8")]
)
def test_other_samples_of_odd_length(tag: int, bits: int, dtype: str) -> None:
    values = WHOLE.astype(np.float64)
    if tag == 3:
        body = values.astype(dtype).tobytes()
    elif bits == 24:
        body = b"".join(int(v * 2**23).to_bytes(3, "little", signed=True) for v in values)
    else:
        body = (np.round(values * 2 ** (bits - 1)) + (128 if bits == 8 else 0)).astype(dtype).tobytes()
    for pad in (True, False):
        for after in (b"", INFO):
            got = read(odd.riff(odd.form(tag=tag, bits=bits), odd.chunk(b"data", body, pad=pad), after))
            assert len(got) == odd.SAMPLES and np.abs(got - WHOLE).max() <= 2.0 ** (2 - bits)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_companded_audio(subtype: str) -> None:
    data = encoded(WHOLE, odd.RATE, "WAV", subtype)
    got = read(data)
    at = data.find(b"fact")
    if subtype != "IMA_ADPCM":  # whose writer counts whole blocks
        assert len(got) == odd.SAMPLES
    data = data[: at + 8] + odd.SAMPLES.to_bytes(4, "little") + data[at + 12 :]
    assert np.array_equal(read(data), got[: odd.SAMPLES])
    noise = np.square(got[: odd.SAMPLES] - WHOLE).mean() / np.square(WHOLE).mean()
    assert noise < 0.01


@pytest.mark.parametrize(
    ("format", "subtype", "noise"),
    [
        ("WAVEX", "PCM_24", 1e-9), ("RF64", "FLOAT", 0), ("W64", "PCM_24", 1e-9), ("W64", "DOUBLE", 0),
        ("AIFF", "FLOAT", 0), ("AIFF", "PCM_S8", 1e-3), ("AIFF", "ALAW", 1e-2), ("AIFF", "IMA_ADPCM", 1e-2),
        ("AU", "PCM_24", 1e-9), ("AU", "DOUBLE", 0), ("AU", "ULAW", 1e-2), ("NIST", "PCM_24", 1e-9),
        ("NIST", "ALAW", 1e-2), ("CAF", "FLOAT", 0), ("CAF", "ULAW", 1e-2), ("CAF", "ALAC_16", 1e-6),
        ("CAF", "ALAC_24", 1e-9), ("WAV", "GSM610", 0.2), ("FLAC", "PCM_S8", 1e-3), ("FLAC", "PCM_24", 1e-9),
    ],
)  # fmt: skip
def test_every_format_that_the_docs_name(format: str, subtype: str, noise: float) -> None:
    tone = 0.5 * np.sin(np.arange(16_000, dtype=np.float32) / 9)  # a whole number of blocks of every format
    got = read(encoded(tone, RATE, format, subtype))
    extra = {"IMA_ADPCM": 64, "GSM610": 320}.get(subtype, 0)  # their writers count whole blocks
    assert len(tone) <= len(got) <= len(tone) + extra
    assert np.square(got[: len(tone)] - tone).mean() <= noise * np.square(tone).mean()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("by", [1, 96_000, 48_000 * 3600])
def test_positions_that_begin_late(subtype: str, rate: int, by: int) -> None:
    data = encoded(chirp(2, 60_000), rate, "OGG", subtype)
    whole = read(data)
    assert len(whole) == 60_000
    assert np.array_equal(read(odd.late(data, by)), whole)
    assert np.array_equal(read(odd.id3v2() + odd.late(data, by) + odd.ID3V1), whole)


def test_opus_that_is_cut_out_of_a_longer_one() -> None:
    data = encoded(chirp(2, 200_000), 48000, "OGG", "OPUS")
    whole, parts = read(data), odd.pages(data)
    cut = read(b"".join([*parts[:2], *parts[3:]]))
    assert np.array_equal(cut[-100_000:], whole[-100_000:])  # the decoder settles within a moment


# ---- MP3


def decoded() -> np.ndarray:
    """Every frame, with the delay of encoder and decoder."""
    found = read(b"".join(FRAMES[1:]))
    assert len(found) == 576 * (len(FRAMES) - 1)
    return found


def test_frames_are_counted() -> None:
    whole, known = decoded(), read(MP3)
    assert len(known) == 4 * odd.SAMPLES
    start = next(i for i in range(3000) if np.array_equal(whole[i : i + 500], known[:500]))
    assert np.array_equal(whole[start : start + len(known)], known)
    silence = b"".join(FRAMES[len(FRAMES) * 3 // 4 :])
    assert len(read(silence)) == 576 * (len(FRAMES) - len(FRAMES) * 3 // 4)


@pytest.mark.parametrize("name", ["ID3v2", "ID3v1", "APE", "all", "tag inside", "zeros", "padded tag"])
def test_tags_around_mp3(name: str) -> None:
    frames = b"".join(FRAMES[1:])
    data = {
        "ID3v2": odd.id3v2() + frames,
        "ID3v1": frames + odd.ID3V1,
        "APE": frames + odd.APE,
        "all": odd.id3v2() + frames + odd.APE + odd.ID3V1,
        "tag inside": b"".join(FRAMES[1:30]) + odd.id3v2(300) + b"".join(FRAMES[30:]),
        "zeros": frames + bytes(3000),
        "padded tag": odd.id3v2() + bytes(1000) + frames,
    }[name]
    assert np.array_equal(read(data), decoded())
    if name in ("ID3v2", "ID3v1", "APE", "all"):
        assert np.array_equal(read(data.replace(frames, MP3)), read(MP3))


def test_a_count_that_is_wrong() -> None:
    whole, frames = read(MP3), len(FRAMES) - 1
    size = len(MP3)
    assert np.array_equal(read(odd.with_count(FRAMES, frames + 1, size=size)), whole)  # itself counted
    assert np.array_equal(read(odd.with_count(FRAMES, 9 * frames, size=size)), whole)
    less = read(odd.with_count(FRAMES, 20))
    assert len(less) >= len(whole) and np.array_equal(less[: len(whole)], whole)


def test_mp3_in_wav() -> None:
    fmt = odd.form(tag=0x55, bits=0, align=1, extra=b"\x0c\0" + bytes(12))
    frames = b"".join(FRAMES[1:])
    for data in (frames, frames + odd.ID3V1):
        wav = odd.riff(fmt, odd.chunk(b"fact", bytes(4)), INFO, odd.chunk(b"data", data), INFO)
        assert np.array_equal(read(wav), decoded())
    assert np.array_equal(read(odd.riff(fmt, odd.chunk(b"data", MP3, 0xFFFFFFFF))), read(MP3))


# ---- what is done for it


def test_damaged_headers_are_refused_in_words() -> None:
    """Bytes at random places of every odd file: it is read or refused, and nothing else happens."""
    random = np.random.default_rng(0)
    numbers = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"ID3\3"]
    seeds = [*READ.values(), *(data for data, _ in REFUSED.values()), MP3, VORBIS, OPUS]
    for data in seeds:
        for size in (48, 100, 3000):
            damaged = bytearray(data[:size])
            for at in random.integers(0, min(len(damaged), 120), 4):
                damaged[at : at + 4] = numbers[int(random.integers(len(numbers)))]
            for near in (True, False):
                with contextlib.suppress(AudioError):
                    files.examined(io.BytesIO(bytes(damaged)), near)


def test_a_clean_file_is_given_to_libsndfile_as_it_is() -> None:
    for name in ("as it should be", "LIST after", "RF64", "AIFF", "FLAC"):
        assert files.examined(io.BytesIO(READ[name])).view.plain
    for data in (VORBIS, OPUS, MP3):
        assert files.examined(io.BytesIO(data)).view.plain


def test_of_a_far_file_little_is_read() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.count += len(found)
            return found

    noise = np.random.default_rng(0).normal(size=400_000) / 10
    for format, share in (("WAV", 0.01), ("FLAC", 0.2), ("AIFF", 0.01)):
        file = Counting(encoded(noise, 44100, format))
        assert audio_length(file, near=False).samples == 400_000
        assert file.count < share * len(file.getvalue())


@pytest.mark.parametrize("frames", [b"\xff", b"\xff\xf8", b"\xff" * 50])
def test_a_flac_file_of_next_to_no_frames_is_damaged(frames: bytes) -> None:
    head = encoded(chirp(1, 3000), 8000, "FLAC")[:42]
    data = head[:4] + b"\x80" + head[5:] + frames
    assert audio_length(io.BytesIO(data)).samples == 3000  # as its header says; the decoder finds the damage
    with pytest.raises(AudioError):
        read_audio(data, 1)


def test_24_bits_may_lie_in_4_bytes() -> None:
    whole = (odd.PCM.astype("<i4") << 16).tobytes()
    data = odd.riff(odd.form(bits=24, align=4), odd.chunk(b"data", whole))
    assert np.array_equal(read(data), WHOLE)


def test_libsndfile_reads_local_files_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(READ["LIST before"])
    for start in (0, 7, 100):  # wherever Python is in the file
        file = path.open("rb")
        file.read(start)
        with AudioReader(file, 1) as reader:
            assert np.array_equal(reader.read(0, reader.samples)[:, 0], WHOLE)
            assert np.array_equal(np.concatenate(list(reader.blocks()))[:, 0], WHOLE)
        assert file.closed
