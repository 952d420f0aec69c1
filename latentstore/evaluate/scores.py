"""Measuring one recording or image: by our codec, then by its peers at the nearest number of bytes."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from latentstore.codecs import AudioCodec, Codec, ImageCodec
from latentstore.codecs.arguments import require_prefix, require_quality
from latentstore.codecs.errors import ArgumentError
from latentstore.progress import counted

if TYPE_CHECKING:
    from latentstore.sources import Item

__all__ = ["Judge", "Score", "judge_of"]


@dataclass(frozen=True)
class Score:
    """One entry by one codec. units: 16-bit samples of a recording, or pixels. figures: in the judge's order."""

    entry: str
    codec: str
    bytes: int
    units: int
    figures: tuple[float, ...]


class Judge(Protocol):
    """noun: what an entry is. size: what bytes are shown as. figures: names of what is measured."""

    noun: str
    size: str
    figures: tuple[str, ...]

    def scores(self, item: Item) -> list[Score]:
        """Ours first. SignalError where the item cannot be read."""
        ...

    def size_of(self, total_bytes: int, units: int) -> float:
        """The figure that `size` names."""
        ...

    def notes(self) -> list[str]:
        """What is to be said under a table."""
        ...


def judge_of(codec: Codec, quality: int | None, channels: int | None) -> Judge:
    """The judge of what a codec takes. channels: only the first so many are decoded. ArgumentError."""
    setting = Setting(codec, quality, channels)
    if isinstance(codec, AudioCodec):
        return Recordings(codec, setting)
    assert isinstance(codec, ImageCodec)
    return Images(codec, setting)


class Setting:
    """Ours at one quality, None for its default, and the first `channels` of it.

    limited: how many coefficients did not fit int8.
    """

    def __init__(self, codec: Codec, quality: int | None, channels: int | None) -> None:
        self.codec, self.limited = codec, 0
        self.quality = require_quality(quality, codec.default_quality)
        self.channels = require_prefix(channels, codec.channels)
        part = f", {self.channels} channels" if self.channels < codec.channels else ""
        self.name = f"{codec.name}, quality {self.quality}{part}"

    def groups(self, signal: np.ndarray) -> list[bytes]:
        """The signal's group blobs."""
        groups, limited = self.codec.compress_counted(signal, self.quality)
        self.limited += limited
        return groups

    def fetched(self, blob: bytes, groups: list[bytes]) -> int:
        """Bytes of the beginning of the blob that holds the wanted channels."""
        wanted = -(-self.channels // self.codec.group_channels)
        return len(blob) - sum(map(len, groups[wanted:]))

    def notes(self) -> list[str]:
        if not self.limited:
            return []
        return [f"{counted(self.limited, 'coefficient')} did not fit int8: a lower quality may come nearer there."]


class Recordings:
    """See `Judge`. Of a mono recording that is copied to the inputs of a codec, one channel counts as PCM."""

    noun, size = "recording", "compression"
    figures: tuple[str, ...] = ("SNR", "PSNR", "SI-SDR", "spectral")

    def __init__(self, codec: AudioCodec, setting: Setting) -> None:
        self.codec, self.setting = codec, setting
        self.resampled: set[tuple[str, int, int]] = set()

    def scores(self, item: Item) -> list[Score]:
        from latentstore.evaluate.audio_peers import PEERS
        from latentstore.sources.audio import audio_length, read_audio

        data = item.read()
        if isinstance(data, np.ndarray):
            raise ArgumentError(f"{item.path} is an array; files are evaluated")
        signal, rate = read_audio(data, self.codec.in_channels)
        units = len(signal) * min(audio_length(io.BytesIO(data)).channels, self.codec.in_channels)
        groups = self.setting.groups(signal)
        blob = self.codec.join_groups(groups, 1, len(signal), rate)
        size = self.setting.fetched(blob, groups)
        decoded = self.codec.decompress(blob, self.setting.channels)
        scores = [Score(item.path, self.setting.name, size, units, _figures(signal, decoded))]
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda peer: peer.nearest(signal, rate, size), PEERS)
            for peer, nearest in zip(PEERS, found, strict=True):
                if peer.rate_for(rate) != rate:
                    self.resampled.add((peer.name, rate, peer.rate_for(rate)))
                if nearest is not None:
                    scores.append(Score(item.path, peer.name, nearest[0], units, _figures(signal, nearest[1])))
        return scores

    def size_of(self, total_bytes: int, units: int) -> float:
        return 2 * units / total_bytes

    def notes(self) -> list[str]:
        return [
            "Compression: bytes of 16-bit PCM over bytes. SNR, PSNR (peak to peak 2) and SI-SDR in dB. Spectral: mean",
            "absolute difference of log spectra, in dB, over Hann windows of 2048 to 64 samples, as in DDSP's",
            "multi-scale spectral loss. Encoders' delays are taken out.",
            *(
                f"{name} does not work at {own:,} Hz: it gets {rate:,} Hz by soxr, and is resampled back."
                for name, own, rate in sorted(self.resampled)
            ),
            "Opus, Ogg Vorbis and MP3 aim at what is heard, not at PSNR: these figures do not say how they audio.",
            *self.setting.notes(),
        ]


def _figures(signal: np.ndarray, decoded: np.ndarray) -> tuple[float, ...]:
    from latentstore.evaluate.audio_metrics import psnr, si_sdr, snr, spectral_distance

    return tuple(measure(signal, decoded) for measure in (snr, psnr, si_sdr, spectral_distance))


class Images:
    """See `Judge`."""

    noun, size = "image", "bits/pixel"
    figures: tuple[str, ...] = ("PSNR",)

    def __init__(self, codec: ImageCodec, setting: Setting) -> None:
        self.codec, self.setting = codec, setting

    def scores(self, item: Item) -> list[Score]:
        from latentstore.evaluate.image_peers import IMAGE_PEERS, psnr
        from latentstore.sources.images import read_image

        image = read_image(item.read(), self.codec.mode, None)
        height, width = image.shape[:2]
        groups = self.setting.groups(image)
        blob = self.codec.join_groups(groups, height, width)
        size = self.setting.fetched(blob, groups)
        found = {self.setting.name: (size, self.codec.decompress(blob, self.setting.channels))}
        for name, peer in IMAGE_PEERS.items():
            nearest = peer.nearest(image, size)
            if nearest is not None:
                found[name] = nearest
        return [
            Score(item.path, name, size, height * width, (psnr(image[None], decoded[None]),))
            for name, (size, decoded) in found.items()
        ]

    def size_of(self, total_bytes: int, units: int) -> float:
        return 8 * total_bytes / units

    def notes(self) -> list[str]:
        return ["PSNR in dB, over all values. JPEG: 4:2:0, optimised. WebP: method 6.", *self.setting.notes()]
