"""Bytes of audio: our blobs beside lossless image coders of the same latents and beside WaLLoC's construction.

Seven recordings of 10 s that were in no fit. Compression is all bytes of 16-bit PCM over all bytes; PSNR is the mean
over recordings, peak to peak 2. Ours are whole blobs; the peers' files hold the same latents (JPEG-LS, WebP), or the
latents of WaLLoC's construction: channels of the same transform, fitted on the same recordings, companded to 8 bits by
the normal distribution's function and stored as lossless WebP.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import functools
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.support import recordings

if TYPE_CHECKING:
    from latentstore.codecs import AudioCodec

POINTS = ((46.0, 56.0), (42.7, 90.0))  # dB, and the compression asked for
PREFIX, PREFIX_POINT = 27, (39.0, 115.0)
LOSSLESS_BAR = 0.88
# dB of full scale; and how far the SNR at the first may be from that at the second.
LEVELS, LEVEL_BAR = (-60, -20, -100, -80, -40, -6), 1.0
# WaLLoC: channels, deviation of a channel in units of the normal distribution, and how many times fewer bytes is asked.
CONSTRUCTIONS = ((27, 1.0, 4.0), (27, 8.0, 1.2), (108, 1.0, 0.0), (108, 8.0, 1.7), (108, 5.0, 0.0))


class Ours:
    """Blobs of every recording at a quality, made once."""

    def __init__(self) -> None:
        import latentstore

        self.codec = latentstore.load_codec(recordings.MUSIC)
        self.tracks = recordings.music()
        self.pcm = sum(map(recordings.pcm_bytes, self.tracks.values()))

    @functools.cache  # noqa: B019  (one object, for the length of the script)
    def blobs(self, quality: int) -> list[bytes]:
        return [self.codec.compress(track, quality) for track in self.tracks.values()]

    @functools.cache  # noqa: B019
    def point(self, quality: int, channels: int) -> tuple[list[float], list[int]]:
        """PSNR and bytes fetched of each recording."""
        groups = -(-channels // self.codec.group_channels)
        sizes = [self.codec.info(blob).ends[groups - 1] for blob in self.blobs(quality)]
        rebuilt = [self.codec.decompress(blob, channels) for blob in self.blobs(quality)]
        return [recordings.psnr(a, b) for a, b in zip(self.tracks.values(), rebuilt, strict=True)], sizes

    def least(self, psnr: float, channels: int) -> int:
        """The lowest quality of at least that mean PSNR."""
        low, high = 1, 100
        while low < high:
            middle = (low + high) // 2
            if np.mean(self.point(middle, channels)[0]) >= psnr:
                high = middle
            else:
                low = middle + 1
        return low


def levels(ours: Ours, bars: common.Bars) -> None:
    """The default quality, of the recordings as they are and made louder or quieter."""
    from latentstore.evaluate.audio.metrics import si_sdr

    rows, ratios = [], {}
    for decibel in (None, *LEVELS):
        size, figures = 0, []
        for track in ours.tracks.values():
            power = float(np.mean(np.square(track, dtype=np.float64)))
            gain = 1.0 if decibel is None else 10 ** (decibel / 20) / power**0.5
            signal = (track * gain).astype(np.float32)
            blob = ours.codec.compress(signal)
            rebuilt = ours.codec.decompress(blob)
            size += len(blob)
            figures.append((recordings.snr(signal, rebuilt), si_sdr(signal, rebuilt)))
        ratios[decibel], scaled = np.mean(figures, axis=0)
        rows.append(
            ["as they are" if decibel is None else f"{decibel} dB", size, float(ratios[decibel]), float(scaled)]
        )
    print(f"\nDefault quality ({ours.codec.default_quality}), by the level of the recordings")
    common.table(["root mean square", "bytes of all", "SNR, dB", "SI-SDR, dB"], rows)
    away = abs(float(ratios[LEVELS[0]] - ratios[LEVELS[1]]))
    bars.at_most(f"SNR at {LEVELS[0]} dB, dB from that at {LEVELS[1]} dB", away, LEVEL_BAR)


def walloc_construction(ours: Ours, channels: int, deviation: float) -> tuple[float, int]:
    """Mean PSNR and bytes of WaLLoC's way with the first channels."""
    codec, unit = ours.codec, np.ones(ours.codec.channels, np.float32)
    fitted = np.concatenate(
        [codec.lapped.signal_to_coefficients(track, unit) for track in recordings.music("music-train").values()], axis=1
    )
    # 8 bits hold the normal distribution of this deviation; the checkpoint's decoder cuts it off at 1 in 10,000
    spread = (fitted.std(1) * deviation)[:channels, None]
    psnr, size = [], 0
    for track in ours.tracks.values():
        exact = codec.lapped.signal_to_coefficients(track, unit)[:channels]
        codes = np.rint(255 * (ndtr(exact / spread) - 0.5)).clip(-127, 127).astype(np.int8)
        size += recordings.webp_bytes(codes)
        rebuilt = ndtri((codes / 255 + 0.5).clip(1e-4, 1 - 1e-4)) * spread
        psnr.append(recordings.psnr(track, synthesised(codec, rebuilt.astype(np.float32), len(track))))
    return float(np.mean(psnr)), size


def synthesised(codec: AudioCodec, coefficients: np.ndarray, n: int) -> np.ndarray:
    """The signal (n, 2) of coefficients that are no whole numbers (docs/format-audio.md section S6)."""
    lapped, (c, t) = codec.lapped, coefficients.shape
    hop, half = lapped.hop, lapped.hop // 2
    places = np.zeros((2, t + 1, hop))
    for mixed in range(2):
        chosen = lapped.source[:c] == mixed
        added = coefficients[chosen].T @ lapped.basis[:c][chosen]
        places[mixed, :-1] += added[:, :hop]
        places[mixed, 1:] += added[:, hop:]
    places = places.reshape(2, -1)
    near, far = lapped.fold[half:], lapped.fold[half - 1 :: -1]
    signal = places[:, half:-half].copy()
    signal[:, :half] = near * signal[:, :half] - far * places[:, half - 1 :: -1]
    signal[:, : -half - 1 : -1] = near * signal[:, : -half - 1 : -1] + far * places[:, -half:]
    return (lapped.mix.T @ signal)[:, :n].T


def main() -> None:
    common.header("Audio: bytes at equal quality, music that no fit has seen", "imagecodecs", "soundfile")
    bars = common.Bars(later=True)
    ours = Ours()
    rows = []
    chosen = [(ours.least(psnr, 108), 108, asked) for psnr, asked in POINTS]
    chosen.append((ours.least(PREFIX_POINT[0], PREFIX), PREFIX, PREFIX_POINT[1]))
    for quality, channels, asked in chosen:
        psnr, sizes = ours.point(quality, channels)
        ratio = ours.pcm / sum(sizes)
        latents = [ours.codec.read_latent(blob, channels)[:, 0] for blob in ours.blobs(quality)]
        jpegls, webp = (sum(map(f, latents)) for f in (recordings.jpegls_bytes, recordings.webp_bytes))
        rows.append(
            [f"quality {quality}, {channels} channels", float(np.mean(psnr)), ratio, ours.pcm / jpegls, ours.pcm / webp,
             sum(sizes) / min(jpegls, webp)]
        )  # fmt: skip
        bars.at_least(f"compression at {np.mean(psnr):.2f} dB, {channels} channels", ratio, asked)
        what = f"bits over the better of both, {channels} channels, quality {quality}"
        bars.at_most(what, sum(sizes) / min(jpegls, webp), LOSSLESS_BAR)
    print("\nCompression of the same latents, to one")
    columns = ["", "PSNR, dB", "latentstore", "JPEG-LS", "WebP lossless", "bits over the better"]
    common.table(columns, rows)

    levels(ours, bars)

    print("\nBy recording")
    for quality, channels, _ in chosen:
        psnr, sizes = ours.point(quality, channels)
        tracks = zip(ours.tracks.items(), psnr, sizes, strict=True)
        common.table(
            [f"quality {quality}, {channels} channels", "PSNR, dB", "compression"],
            [[name, db, recordings.pcm_bytes(track) / size] for (name, track), db, size in tracks],
        )

    print("\nWaLLoC's construction, and ours at its PSNR or above")
    rows = []
    for channels, deviation, asked in CONSTRUCTIONS:
        psnr, size = walloc_construction(ours, channels, deviation)
        quality = ours.least(psnr, channels)
        mine, sizes = ours.point(quality, channels)
        reached = float(np.mean(mine)) >= psnr
        what = f"{channels} channels, {deviation:g} times unit variance"
        rows.append([what, psnr, ours.pcm / size, float(np.mean(mine)), ours.pcm / sum(sizes), size / sum(sizes)])
        if asked:
            bars.at_least(f"times fewer bytes than WaLLoC's, {what}", size / sum(sizes) if reached else 0.0, asked)
    common.table(["", "its PSNR", "its compression", "our PSNR", "our compression", "times fewer bytes"], rows)
    print()
    bars.end()


if __name__ == "__main__":
    main()
