"""Does a model learn as well from latents? Spoken digits: latents against a waveform of as many inputs.

A small convolutional network tells ten digits apart, from clips of a speaker whom it has not heard: six speakers are
held out in turn, each with five seeds. All inputs are 4096 numbers a clip, of 8192 samples, and the network is the
same: three convolutions over time, 26,682 weights (29,242 of log-mel, whose first layer sees more rows).

- The waveform: resampled to 4 kHz (soxr), divided by its level; 16 samples a step.
- Latents: the codes of the first 16 of 32 channels, as the store holds them.
- Of both, log(1 + |x|) too: the sign of a latent turns with the phase. Their better inputs are compared.
- Log-mel: 32 bands, 128 frames of 32 ms, of the whole clip at 8 kHz.

The codec's artifact was fitted on four of the speakers, without labels; a second one here, fitted on music alone, says
whether that matters. A first layer of finer strides on the waveform (4 samples, then the maximum of 8) was tried once,
with two seeds: 51 %, at about 5 times the time.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import nn

import latentstore
from benchmarks.support import recordings
from latentstore.fit.api import fit_file

SAMPLES, RATE = 8192, 8000
CHANNELS, INSTANTS = 16, 256
BANDS, FRAMES, WINDOW = 32, 128, 256
SEEDS, EPOCHS, BATCHES = 5, 25, 8
LABELS = "{label}_{speaker}_{take}.wav"


def network(rows: int) -> nn.Sequential:
    """Of inputs (b, rows, steps)."""
    layers: list[nn.Module] = []
    for before, after in ((rows, 32), (32, 48), (48, 64)):
        layers += [nn.Conv1d(before, after, 5, 2, 2), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 10))


def accuracies(inputs: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> list[float]:
    """Of a network for each seed, on the clips held out."""
    torch.set_num_threads(1)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = network(x.shape[1])
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, EPOCHS * BATCHES)
        for _ in range(EPOCHS):
            for batch in np.array_split(rng.permutation(train), BATCHES):
                # up to an eighth of a second later
                shift = int(rng.integers(0, 16)) * x.shape[2] // FRAMES
                loss = nn.functional.cross_entropy(model(torch.roll(x[batch], shift, 2)), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        model.eval()
        with torch.no_grad():
            found.append(float((model(x[test]).argmax(1) == y[test]).float().mean()))
    return found


def fixed(values: np.ndarray, steps: int) -> np.ndarray:
    """(rows, t) cut or filled up with zeros to (rows, steps)."""
    return np.pad(values[:, :steps], ((0, 0), (0, max(0, steps - values.shape[1]))))


def unit(inputs: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """With a standard deviation of 1 over these axes."""
    return (inputs / inputs.std(axes, keepdims=True)).astype(np.float32)


def waveforms(clips: list[np.ndarray]) -> np.ndarray:
    rate = RATE * CHANNELS * INSTANTS // SAMPLES
    found = []
    for clip in clips:
        low = soxr.resample(clip, RATE, rate, quality="VHQ")
        found.append(fixed((low / np.sqrt(np.mean(low**2)))[None], CHANNELS * INSTANTS))
    return unit(np.stack(found).reshape(len(clips), INSTANTS, CHANNELS).transpose(0, 2, 1), (0, 1, 2))


def log_mel(clips: list[np.ndarray]) -> np.ndarray:
    """Slaney's filters are triangles, too; these are on O'Shaughnessy's scale, from 60 Hz to half the rate."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 2595 * np.log10(1 + hertz / 700)

    edges = np.linspace(mel(np.array(60.0)), mel(np.array(RATE / 2)), BANDS + 2)
    places = mel(np.fft.rfftfreq(WINDOW, 1 / RATE))
    rising = (places - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - places) / np.diff(edges)[1:, None]
    filters = np.clip(np.minimum(rising, falling), 0, 1)
    found = []
    for clip in clips:
        padded = np.pad(fixed(clip[None] / np.sqrt(np.mean(clip**2)), SAMPLES)[0], WINDOW // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: SAMPLES // FRAMES][:FRAMES]
        power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])) ** 2
        found.append(np.log(filters @ power.T + 1e-3))
    mels = np.stack(found)
    return unit(mels - mels.mean((0, 2), keepdims=True), (0, 2))


def magnitudes(inputs: np.ndarray) -> np.ndarray:
    return unit(np.log1p(np.abs(inputs)), (0, 2))


def latents(source: Path, codec: str, scratch: Path) -> np.ndarray:
    """Codes of the first channels, as a store of the digits holds them."""
    store = scratch / f"{Path(codec).stem}.zarr"
    latentstore.convert(str(source), str(store), codec=codec, labels=LABELS, progress=False)
    ds = latentstore.open(store, channels=CHANNELS)
    size = ds.group_bytes()[:, 0].mean()
    print(f"{ds.codec.name}: {size:.0f} bytes a clip for {CHANNELS} channels, of {pcm(ds):.0f} as 16-bit PCM")
    return np.stack([fixed(x[:, 0].astype(np.float32), INSTANTS) for x in ds.read_latents(np.arange(len(ds)))])


def pcm(ds: latentstore.loaders.LatentDataset) -> float:
    return float(2 * ds.sizes()[:, 1].mean())


def main() -> None:
    common.header("Learning from latents: spoken digits, speakers held out in turn", "torch", "soxr", "soundfile")
    files = recordings.digits()  # in the order of a store of them
    clips = [soundfile.read(file, dtype="float32")[0] for file in files]
    labels = np.array([int(file.stem.split("_")[0]) for file in files])
    speakers = np.array([file.stem.split("_")[1] for file in files])
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        own = latents(files[0].parent, recordings.SPEECH, scratch)
        music = scratch / "fitted-on-music.safetensors"
        fit_file(common.data("audio", "music-train"), music, music.stem, recordings.SPEECH, rounds=0)
        other = latents(files[0].parent, str(music), scratch)
    wave = waveforms(clips)
    entrants = {
        "waveform, 4 kHz": wave,
        "  magnitudes": magnitudes(wave),
        f"latents, {CHANNELS} channels": unit(own, (0, 2)),
        "  magnitudes ": magnitudes(own),
        "  magnitudes, codec fitted on music": magnitudes(other),
        "log-mel, 32 bands": log_mel(clips),
    }
    names = sorted(set(speakers))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = {
            name: [pool.submit(accuracies, inputs, labels, speakers == speaker) for speaker in names]
            for name, inputs in entrants.items()
        }
        found = {name: 100 * np.array([run.result() for run in each]) for name, each in runs.items()}
    unseen = [names.index(speaker) for speaker in recordings.UNSEEN]
    both = " and ".join(recordings.UNSEEN)
    print(f"\nAccuracy on speakers held out, {SEEDS} seeds each. The shipped artifact has heard all but {both}.")
    columns = ["", "inputs", "accuracy, %", "spread of seeds", "of speakers", both]
    rows = [
        [name, inputs[0].size, a.mean(), a.mean(0).std(ddof=1), a.mean(1).std(ddof=1), a[unseen].mean()]
        for (name, inputs), a in zip(entrants.items(), found.values(), strict=True)
    ]
    common.table(columns, rows)
    means = [float(a.mean()) for a in found.values()]
    bars = common.Bars()
    what = "accuracy from latents over that from the waveform, the better input of each, %"
    bars.at_least(what, max(means[2:4]), max(means[:2]))
    bars.end()


if __name__ == "__main__":
    main()
