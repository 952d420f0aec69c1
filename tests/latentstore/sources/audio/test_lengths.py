"""Headers that do not agree with their file: all of the audio is read, in its place, or the file is refused."""

from __future__ import annotations

import io

import numpy as np
import odd_audio as odd
import pytest
from audio_made import chirp, encoded

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.files import audio_length
from latentstore.sources.audio.reader import AudioReader, read_audio

PCM, WHOLE = odd.PCM.tobytes(), odd.as_read()
BIG = odd.PCM.byteswap().tobytes()
FLAC = encoded(WHOLE, odd.RATE, "FLAC", "PCM_16")
VORBIS, OPUS = encoded(chirp(2, 30_000), 16000, "OGG", "VORBIS"), encoded(chirp(2, 30_000), 48000, "OGG", "OPUS")
MP3 = odd.mp3()
FRAMES = odd.mp3_frames(MP3)
FMT = odd.form()
DATA = odd.chunk(b"data", PCM)
INFO = odd.chunk(b"LIST", odd.LIST)


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


WAVES = {
    "as it should be": odd.pcm_wav(),
    "data says 0": odd.pcm_wav(0),
    "all sizes 0": odd.pcm_wav(0, total=0),
    "data says 2^32 - 1": odd.pcm_wav(0xFFFFFFFF, total=0xFFFFFFFF),
    "data says 2^32 - 37": odd.pcm_wav(0xFFFFFFFF - 36, total=0xFFFFFFFF),
    "sox to a pipe": odd.pcm_wav(0x7FFFF000, total=0x7FFFF024),
    "data says 2^31 - 1": odd.pcm_wav(0x7FFFFFFF, total=0x7FFFFFFF),
    "data says 2^31": odd.pcm_wav(0x80000000, total=0x80000024),
    "LIST before": odd.pcm_wav(before=INFO),
    "LIST after": odd.pcm_wav(after=INFO),
    "LIST before a pipe": odd.pcm_wav(0xFFFFFFFF, before=INFO),
    "RIFF says less": odd.pcm_wav(total=100),
    "RIFX": odd.riff(odd.form(order=">"), odd.chunk(b"data", BIG, order=">"), magic=b"RIFX", order=">"),
    "RIFX to a pipe": odd.riff(odd.form(order=">"), odd.chunk(b"data", BIG, 0, order=">"), magic=b"RIFX", order=">"),
    "RF64": odd.rf64(b"RF64", PCM),
    "BW64": odd.rf64(b"BW64", PCM),
    "RF64 without a length": odd.rf64(b"RF64", PCM, 0),
    "BW64 without a length": odd.rf64(b"BW64", PCM, (1 << 64) - 1),
    "BW64 without ds64": b"BW64" + odd.riff(FMT, DATA)[4:],
    "W64": odd.w64(),
    "W64 to a pipe": odd.w64(0),
    "ID3v2 before": odd.id3v2() + odd.pcm_wav(),
    "two ID3v2 before": odd.id3v2() + odd.id3v2(10) + odd.pcm_wav(),
    "ID3v2 before a pipe": odd.id3v2() + odd.pcm_wav(0),
    "ID3v1 after": odd.pcm_wav() + odd.ID3V1,
    "APE after": odd.pcm_wav() + odd.APE,
    "padded with zeros": odd.pcm_wav() + bytes(2000),
    "a chunk cut behind the samples": odd.pcm_wav(after=INFO[:-4]),
    "fact says less": odd.riff(FMT, odd.chunk(b"fact", b"\xa0\x0f\0\0"), DATA),
    "extensible": odd.riff(odd.extensible(1, 16, 16), DATA),
    "AIFF": odd.aifc(odd.SAMPLES),
    "AIFF-C, little-endian": odd.aifc(odd.SAMPLES, kind=b"sowt"),
    "AIFF-C": odd.aifc(odd.SAMPLES, kind=b"NONE"),
    "AIFF to a pipe": odd.aifc(0, 0),
    "AIFF to a pipe, 8 bytes": odd.aifc(0, 8),
    "AIFF to a pipe, 2^32 - 1": odd.aifc(0xFFFFFFFF, 0xFFFFFFFF),
    "AIFF without a count": odd.aifc(0),
    "ID3v2 before AIFF": odd.id3v2() + odd.aifc(odd.SAMPLES),
    "AIFF with a chunk behind": odd.aifc(odd.SAMPLES, after=odd.chunk(b"NAME", b"song", order=">")),
    "AU": odd.au(len(PCM)),
    "AU without a length": odd.au(0xFFFFFFFF),
    "NIST SPHERE": odd.nist(odd.SAMPLES),
    "NIST SPHERE without a count": odd.nist(None),
    "CAF": odd.caf(),
    "CAF to a pipe": odd.caf(-1),
    "CAF with a chunk behind": odd.caf(after=b"info" + (8).to_bytes(8, "big") + bytes(8)),
    "FLAC": FLAC,
    "FLAC that says less": odd.flac_total(FLAC, 4000),
    "FLAC that says one less": odd.flac_total(FLAC, odd.SAMPLES - 1),
    "FLAC that says 0": odd.flac_total(FLAC, 0),
    "ID3v2 before FLAC": odd.id3v2() + FLAC,
    "ID3v1 after FLAC": FLAC + odd.ID3V1,
    "ID3v2 before and ID3v1 after FLAC that says 0": odd.id3v2() + odd.flac_total(FLAC, 0) + odd.ID3V1,
    "FLAC in Ogg": odd.ogg_flac(FLAC),
    "FLAC in Ogg that says 0": odd.ogg_flac(odd.flac_total(FLAC, 0)),
    "ID3v2 before FLAC in Ogg": odd.id3v2() + odd.ogg_flac(FLAC),
}


@pytest.mark.parametrize("name", WAVES)
def test_all_of_it_is_read(name: str) -> None:
    assert np.array_equal(read(WAVES[name]), WHOLE)


@pytest.mark.parametrize("name", WAVES)
def test_any_part_of_it_is_in_its_place(name: str) -> None:
    with AudioReader(WAVES[name], 1) as reader:
        for start, stop in ((0, 10), (5000, 5100), (odd.SAMPLES - 7, odd.SAMPLES)):
            assert np.array_equal(reader.read(start, stop)[:, 0], WHOLE[start:stop])


REFUSED = {
    "data says less": (odd.pcm_wav(8000), "16,002 bytes behind them are neither chunks nor tags"),
    "data says 2 bytes": (odd.pcm_wav(2), "neither chunks nor tags"),
    "data says more": (odd.pcm_wav(1 << 20), "cut short: it has 24,002 of 1,048,576 bytes"),
    "another WAV behind": (odd.pcm_wav() * 2, "another recording follows"),
    "a FLAC behind": (odd.pcm_wav() + FLAC, "another recording follows"),
    "two chunks of samples": (odd.pcm_wav(after=DATA), "a second chunk of samples"),
    "no samples, then chunks": (odd.riff(FMT, odd.chunk(b"data", b""), INFO), "no samples"),
    "half a sample": (odd.riff(FMT, odd.chunk(b"data", b"\1")), "no samples"),
    "no chunk of samples": (odd.riff(FMT, INFO), "chunk of samples is missing"),
    "no format": (odd.riff(DATA), "format of its samples is not said"),
    "no channels": (odd.riff(odd.form(channels=0, align=2), DATA), "0 channels"),
    "RF64 cut": (odd.rf64(b"RF64", PCM, 99999), "cut short"),
    "AAC in WAV": (odd.riff(odd.form(tag=0xFF), DATA), "AAC"),
    "W64 says less": (odd.w64(24 + 8000), "no chunks"),
    "W64 says more": (odd.w64(1 << 20), "cut short"),
    "AIFF says less": (odd.aifc(4000, 8 + 8000), "neither chunks nor tags"),
    "AIFF says two things": (odd.aifc(4000), "4,000 samples in one place (COMM) and 12,001 in another"),
    "AIFF says more": (odd.aifc(50_000, 8 + 100_000), "cut short"),
    "AIFF-C of another kind": (odd.aifc(odd.SAMPLES, kind=b"QDM2"), "'QDM2'"),
    "two AIFF": (odd.aifc(odd.SAMPLES) * 2, "another recording follows"),
    "AU says less": (odd.au(8000), "16,002 bytes follow"),
    "AU says more": (odd.au(1 << 20), "cut short"),
    "NIST SPHERE says less": (odd.nist(4000), "16,002 bytes follow"),
    "NIST SPHERE says more": (odd.nist(20_000), "cut short"),
    "NIST SPHERE by shorten": (odd.nist(odd.SAMPLES, coding="pcm,embedded-shorten-v2.00"), "shorten"),
    "CAF says less": (odd.caf(8004), "16,002 bytes behind its samples"),
    "CAF says more": (odd.caf(1 << 20), "cut short"),
    "FLAC says more": (odd.flac_total(FLAC, 20_000), "its header says 20,000 samples, and it holds 12,001"),
    "FLAC says 0, and is cut": (odd.flac_total(FLAC, 0)[:-50], "cut short"),
    "two FLAC": (FLAC + FLAC, "several FLAC recordings"),
    "two FLAC in Ogg": (odd.ogg_flac(FLAC) * 2, "chained Ogg"),
    "two Vorbis": (VORBIS + odd.changed(VORBIS, lambda granule, serial: (granule, serial + 1)), "chained Ogg"),
    "the same Vorbis twice": (VORBIS + VORBIS, "chained Ogg"),
    "two Opus": (OPUS + OPUS, "chained Ogg"),
    "two streams in Ogg": (odd.pages(VORBIS)[0] + odd.pages(OPUS)[0] + VORBIS, "several streams at once"),
    "Speex": (odd.page(2, 0, 1, 0, b"\x50", b"Speex   " + bytes(72)) + VORBIS, "Speex"),
    "two MP3": (MP3 + MP3, "several MP3 recordings"),
    "two MP3 with a tag between": (MP3 + odd.id3v2(300) + MP3, "several MP3 recordings"),
    "an MP3 with junk inside": (b"".join(FRAMES[:30]) + b"junk" * 99 + b"".join(FRAMES[30:]), "396 bytes at byte"),
    "MP3 cut in a frame": (b"".join(FRAMES[1:])[:-20], "cut short: the last of its"),
    "MP3 whose count says more": (b"".join(FRAMES[:-3]), "cut short: its Xing header says"),
    "MP4": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(99), "MP4"),
    "AAC": (b"\xff\xf1\x50\x80" + bytes(99), "AAC"),
    "Matroska": (b"\x1aE\xdf\xa3" + bytes(99), "Matroska"),
    "nothing but a tag": (odd.id3v2(), "ID3 tag"),
    "a tag that says too much": (odd.id3v2(90_000)[:500], "ID3 tag"),
}  # fmt: skip


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


def test_a_clean_file_is_given_to_libsndfile_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.sources.audio import files

    for name in ("as it should be", "LIST after", "RF64", "AIFF", "FLAC"):
        assert files.examined(io.BytesIO(WAVES[name])).view.plain
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
