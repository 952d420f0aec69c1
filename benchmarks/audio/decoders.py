"""Trained decoders of audio beside the linear one: what they gain in SNR, and speed.

One thread. The blobs are the same for both. Music is that which no fit and no training has heard; digits are those of
two speakers whom neither has heard. A gain is the mean over the recordings of the difference in SNR.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import time
import warnings
from typing import Any

import numpy as np
import soundfile

from benchmarks.support import recordings
from latentstore.codecs.codec import OutlierWarning
from latentstore.codecs.neural.decoder import LINEAR

SMALL = "small"
QUALITIES = (10, 30, 50, 70, 90)
# By codec: prefixes, and the mean gain of all channels at the default quality in dB.
SHOWN: dict[str, tuple[tuple[int, ...], float]] = {
    recordings.SPEECH: ((16, 32), 0.6),
    recordings.MUSIC: ((27, 54, 81, 108), 0.2),
}


def main() -> None:
    common.header("Decoders of audio, one thread", "soundfile")
    digits = [soundfile.read(file, dtype="float32", always_2d=True)[0] for file in recordings.digits(recordings.UNSEEN)]
    signals = {recordings.SPEECH: digits, recordings.MUSIC: list(recordings.music().values())}
    gains = {name: _measure(name, given) for name, given in signals.items()}
    print()
    bars = common.Bars()
    for name, gain in gains.items():
        bars.at_least(f"{name}: mean gain at the default quality, dB", gain, SHOWN[name][1])
    bars.end()


def _measure(name: str, signals: list[np.ndarray]) -> float:
    """Prints its tables; returns the mean gain at the default quality in dB."""
    import latentstore

    codec: Any = latentstore.load_codec(name)
    decoder = codec.decoder(SMALL)
    multiplications = decoder.file.folded.operations / codec.reduction / codec.in_channels
    print(f"\n{name}: {multiplications:,.0f} multiplications a sample, {decoder.card['trained on']}")
    prefixes, gain = SHOWN[name][0], 0.0
    rows: list[tuple[object, ...]] = []
    for quality in QUALITIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutlierWarning)  # a few values of the highest qualities
            blobs = [codec.compress(signal, quality) for signal in signals]
        for kept in prefixes:
            linear, small = (
                np.array(
                    [
                        recordings.snr(signal, codec.decompress(blob, kept, decoder=which).reshape(signal.shape))
                        for signal, blob in zip(signals, blobs, strict=True)
                    ]
                )
                for which in (LINEAR, SMALL)
            )
            more = small - linear
            rows.append(
                (f"quality {quality}, {kept} channels", linear.mean(), f"{more.mean():+.2f}", f"{more.min():+.2f}")
            )
            if (quality, kept) == (codec.default_quality, codec.channels):
                gain = float(more.mean())
    common.table(["", "linear, dB", "small, dB more", "least"], rows)
    blobs = [codec.compress(signal) for signal in signals]
    seconds = common.race(
        {
            which: lambda which=which: [codec.decompress(blob, decoder=which) for blob in blobs]
            for which in (LINEAR, SMALL)
        },
        clock=time.process_time,
    )
    samples = sum(signal.size for signal in signals) / 1e6
    common.table(["decoder", "million samples/s"], [(which, samples / spent) for which, spent in seconds.items()])
    return gain


if __name__ == "__main__":
    main()
