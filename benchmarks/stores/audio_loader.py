"""Training batches of audio: our loader beside soundfile, on the spoken digits.

All run in one process and one thread, from a warm local disk, in an order shuffled anew. Clips have many lengths, so a
batch is padded to its longest; ours are made of like lengths, the peers' as they come. The peers decode 16-bit WAV and
FLAC files to float32 with soundfile; ours reads a store of whole recordings, and one of windows of half a second. A
window is no recording, so what is compared is seconds of audio in a second, without what fills batches and windows up.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

import latentstore
from benchmarks.support import recordings
from latentstore.loaders import LatentLoader

BATCH = 64
EPOCHS = 10
BAR = 5.0
RATE = 8000  # hertz


def write_flac(folder: Path) -> list[Path]:
    """The digits as FLAC files of 16 bits, the samples untouched."""
    written = []
    for file in recordings.digits():
        values, rate = soundfile.read(file, dtype="int16")
        target = folder / f"{file.stem}.flac"
        soundfile.write(target, values, rate, subtype="PCM_16")
        written.append(target)
    return written


class Decoded:
    """Batches of padded waveforms, float32 (b, longest), in a new order every time."""

    def __init__(self, files: list[Path]) -> None:
        self.files, self.rng = files, np.random.default_rng(0)

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = self.rng.permutation(len(self.files))
        for at in range(0, len(order), BATCH):
            clips = [soundfile.read(self.files[i], dtype="float32")[0] for i in order[at : at + BATCH]]
            batch = np.zeros((len(clips), max(map(len, clips))), np.float32)
            for row, clip in zip(batch, clips, strict=True):
                row[: len(clip)] = clip
            yield torch.from_numpy(batch)


def drained(batches: Iterable[object]) -> Callable[[], int]:
    return lambda: sum(sum(1 for _ in batches) for _ in range(EPOCHS))


def main() -> None:
    torch.set_num_threads(1)
    common.header("Loader of audio: samples a second of one core, spoken digits", "soundfile", "torch")
    files = recordings.digits()
    with tempfile.TemporaryDirectory() as scratch:
        store, flac = Path(scratch, "digits.zarr"), Path(scratch, "flac")
        flac.mkdir()
        cut = Path(scratch, "windows.zarr")
        for target, seconds in ((store, None), (cut, 0.5)):
            source, codec = str(files[0].parent), recordings.SPEECH
            latentstore.convert(source, str(target), codec=codec, seconds=seconds, workers=2, progress=False)

        def ours(channels: int, which: Path = store, **options: Any) -> LatentLoader:
            return LatentLoader(latentstore.open(which, channels=channels), BATCH, shuffle=True, **options)

        entrants = {
            "FLAC, soundfile": Decoded(write_flac(flac)),
            "WAV, soundfile": Decoded(files),
            "latentstore, 32 channels, int8 codes": ours(32),
            "latentstore, 32 channels, normalised float32": ours(32, output="latents"),
            "latentstore, 16 channels, int8 codes": ours(16),
            "latentstore, 16 channels, normalised float32": ours(16, output="latents"),
            "latentstore, 32 channels, waveforms": ours(32, output="waveforms"),
            "latentstore, 32 channels, int8 codes, windows": ours(32, cut),
            "latentstore, 16 channels, int8 codes, windows": ours(16, cut),
        }
        calls = {name: drained(batches) for name, batches in entrants.items()}
        best = common.race(calls, rounds=5, clock=time.process_time)
        padding = max(b.padding for b in entrants.values() if isinstance(b, LatentLoader))
        whole, windows = (latentstore.open(target) for target in (store, cut))
        audio = {"recordings": int(whole.sizes()[:, 1].sum()), "windows": int(windows.fields()["samples"].sum())}
        samples = {"recordings": len(whole), "windows": len(windows)}
    rows = []
    for name, seconds in best.items():
        kind = "windows" if "windows" in name else "recordings"
        rows.append([name, EPOCHS * samples[kind] / seconds, EPOCHS * audio[kind] / RATE / seconds])
    flac, wav = rows[0][2], rows[1][2]
    columns = ["", "samples/s", "seconds of audio/s", "times FLAC", "times WAV"]
    common.table(columns, [[*row, row[2] / flac, row[2] / wav] for row in rows])
    kept = audio["windows"] / audio["recordings"]
    print(f"\n{padding:.0%} of our batches of recordings is padding. Windows hold {kept:.0%} of the audio: the last of")
    print("a recording is kept if half of it is audio.")
    bars = common.Bars()
    bars.at_least("audio/s, all 32 channels as int8, whole recordings, over FLAC's", rows[2][2] / flac, BAR)
    bars.at_least("audio/s, 16 channels as int8, whole recordings, over FLAC's", rows[4][2] / flac, BAR)
    bars.end()


if __name__ == "__main__":
    main()
