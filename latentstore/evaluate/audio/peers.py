"""Opus, Ogg Vorbis and MP3, by libsndfile, at the number of bytes that a codec of ours took."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import LatentstoreError
from latentstore.evaluate.audio.metrics import aligned
from latentstore.evaluate.equal_bytes import nearest_bytes

__all__ = ["LEVELS", "PEERS", "Peer"]

Floats = npt.NDArray[np.float32]

# Steps of libsndfile's compression level. Its MP3 encoder refuses a level of exactly 1.
LEVELS = 1000
# Frames in a call at most: libsndfile's Vorbis encoder puts what it is given on its stack.
BLOCK = 1 << 15


@dataclass(frozen=True)
class Peer:
    """A codec of libsndfile. rates: those it works at, in hertz; empty for all."""

    name: str
    format: str
    subtype: str
    rates: tuple[int, ...] = ()
    bitrate_mode: str | None = None

    def rate_for(self, rate: int) -> int:
        """The rate in hertz at which audio of this rate is coded: the same, the next above it, or the highest."""
        return min((r for r in self.rates if r >= rate), default=max(self.rates)) if self.rates else rate

    def nearest(self, signal: Floats, rate: int, wanted_bytes: int) -> tuple[int, Floats] | None:
        """Bytes of the file nearest to `wanted_bytes`, and what it decodes to, aligned with `signal`.

        signal: float32 (n, channels) at `rate` hertz; soxr resamples it where the codec does not work at that rate.
        None where the codec refuses it: too many channels, or too short. LatentstoreError without soxr.
        """
        import soundfile

        own = self.rate_for(rate)
        given = signal if own == rate else _resampled(signal, rate, own)
        try:
            _, data = nearest_bytes(lambda level: self.encode(given, own, level), 1, LEVELS, wanted_bytes)
            decoded = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
        except soundfile.LibsndfileError:
            return None
        return len(data), aligned(signal, decoded if own == rate else _resampled(decoded, own, rate))

    def encode(self, signal: Floats, rate: int, level: int) -> bytes:
        """A file of the signal, float32 (n, channels), at a rate of the codec. level: 1 (smallest) to LEVELS."""
        import soundfile

        out = io.BytesIO()
        with soundfile.SoundFile(
            out, "w", rate, signal.shape[1], self.subtype, format=self.format,
            compression_level=1 - level / LEVELS, bitrate_mode=self.bitrate_mode,
        ) as file:  # fmt: skip
            for at in range(0, len(signal), BLOCK):
                file.write(signal[at : at + BLOCK])
        return out.getvalue()


PEERS = (
    Peer("Opus", "OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    Peer("Ogg Vorbis", "OGG", "VORBIS"),
    Peer(
        "MP3", "MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), "AVERAGE"
    ),
)  # fmt: skip


def _resampled(signal: Floats, own: int, rate: int) -> Floats:
    try:
        import soxr
    except ImportError as error:
        raise LatentstoreError("resampling needs soxr: pip install 'latentstore[audio]'") from error
    return np.asarray(soxr.resample(signal, own, rate, quality="VHQ"), np.float32)
