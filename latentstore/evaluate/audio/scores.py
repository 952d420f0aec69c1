"""Scores recordings: by our codec, then by Opus, Ogg Vorbis and MP3 at the nearest number of bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from latentstore.codecs.errors import ArgumentError
from latentstore.evaluate.audio.metrics import is_silenced, psnr, si_sdr, snr, spectral_distance
from latentstore.evaluate.audio.peers import PEERS
from latentstore.evaluate.scores import Score, Scorer, Setting
from latentstore.sources.audio.files import audio_length
from latentstore.sources.audio.reader import read_audio

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.sources import Item

__all__ = ["AudioScorer"]


class AudioScorer(Scorer):
    """See `Scorer`. Where a mono recording is copied to several inputs of the codec, its PCM counts as one channel."""

    size_name = "compression"
    figures: ClassVar[tuple[str, ...]] = ("SNR", "PSNR", "SI-SDR", "spectral")
    digits: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.resampled: set[tuple[str, int, int]] = set()

    def scores(self, item: Item, advance: Callable[[int], None]) -> list[Score]:
        codec, data = cast("AudioCodec", self.setting.codec), item.read()
        if isinstance(data, np.ndarray):
            raise ArgumentError(f"{item.path} is an array; only files can be evaluated")
        signal, rate = read_audio(data, codec.in_channels)
        units = len(signal) * min(audio_length(io.BytesIO(data)).channels, codec.in_channels)
        groups = self.setting.groups(signal)
        blob = codec.join_groups(groups, 1, len(signal), rate)
        size = self.setting.fetched(blob, groups)
        decoded = codec.decompress(blob, self.setting.channels, decoder=self.setting.decoder)
        scores = [_score(item.path, self.setting.name, size, units, signal, decoded)]
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda peer: peer.nearest(signal, rate, size), PEERS)
            for peer, nearest in zip(PEERS, found, strict=True):
                if peer.rate_for(rate) != rate:
                    self.resampled.add((peer.name, rate, peer.rate_for(rate)))
                if nearest is not None:
                    scores.append(_score(item.path, peer.name, nearest[0], units, signal, nearest[1]))
        advance(1)
        return scores

    def size(self, total_bytes: int, units: int) -> float:
        return 2 * units / total_bytes

    def notes(self) -> list[str]:
        return [
            "Compression: bytes of 16-bit PCM divided by bytes. SNR, PSNR (peak to peak 2) and SI-SDR in dB.",
            "Spectral: mean absolute difference of log spectra, in dB, over Hann windows of 2048 to 64 samples, as in",
            "DDSP's multi-scale spectral loss. The delays of encoders are removed.",
            *(
                f"{name} does not work at {own:,} Hz: soxr resamples it to {rate:,} Hz, and back."
                for name, own, rate in sorted(self.resampled)
            ),
            "Opus, Ogg Vorbis and MP3 aim at what is heard, not at PSNR: these figures do not say how they sound.",
            *self.setting.notes(),
        ]


def _score(entry: str, codec: str, size: int, units: int, signal: np.ndarray, decoded: np.ndarray) -> Score:
    figures = tuple(measure(signal, decoded) for measure in (snr, psnr, si_sdr, spectral_distance))
    return Score(entry, codec, size, units, figures, is_silenced(signal, decoded))
