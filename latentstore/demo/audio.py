"""The demonstration on audio, in about half a minute.

Plucked chords and syllables of a synthetic voice are made here, converted, compared with FLAC and Ogg Vorbis, streamed
for an epoch, and drawn on a sheet. They are simpler than music, so this is a demonstration and not a benchmark.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import LatentstoreError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.conversion.api import convert
from latentstore.demo.audio_sheet import Cell, draw_audio_sheet
from latentstore.demo.stages import own_folder, seconds_of, stream
from latentstore.demo.synthesis import chords, speech_like
from latentstore.evaluate.audio.metrics import aligned, psnr, snr
from latentstore.evaluate.audio.peers import LEVELS, PEERS
from latentstore.evaluate.equal_bytes import nearest_bytes
from latentstore.loaders.opening import open_latents
from latentstore.progress import Progress, megabytes

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["demo_audio"]

Floats = npt.NDArray[np.float32]

CODEC = "stereo-f256c108"
RATE = 44100
SECONDS = 4.0
RECORDINGS = 16
SHOWN_CHANNELS = (108, 27)


def demo_audio(folder: str, *, out: TextIO | None = None, recordings: int = RECORDINGS) -> Path:
    """Runs the demonstration in `folder` and returns the path of the sheet.

    folder: new, empty, or from an earlier demonstration. out: where the tables go; None is standard output. recordings:
    how many are made, half of them chords; 2 or more. StoreError; LatentstoreError where soundfile is not installed.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise LatentstoreError("the demonstration of audio needs soundfile: pip install 'latentstore[demo]'")
    out = out or sys.stdout
    base = own_folder(Path(folder), "clips")
    originals = _write_clips(base / "clips", recordings)
    print(
        f"{len(originals)} recordings of {SECONDS:g} s, stereo, 44.1 kHz, made here (chords, and syllables of a "
        f"synthetic voice; seeds 0 to {(recordings + 1) // 2 - 1}), in {base / 'clips'}\n\n"
        f"$ latentstore convert {base / 'clips'} {base / 'clips.zarr'} --codec {CODEC}",
        file=out,
        flush=True,
    )
    report = convert(str(base / "clips"), str(base / "clips.zarr"), codec=CODEC, overwrite=True, progress=True)
    print(
        f"{report.stored} recordings in {report.seconds:.1f} s ({report.stored * SECONDS / report.seconds:.0f} times "
        f"real time), {megabytes(report.bytes_in)} of WAV in, {megabytes(report.bytes_out)} of latents out\n",
        file=out,
        flush=True,
    )
    dataset = open_latents(report.url)
    keys = dataset.keys()
    signals = [originals[key] for key in keys]
    decoded = {channels: _decoded(open_latents(report.url, channels=channels)) for channels in SHOWN_CHANNELS}
    _compare(dataset, signals, decoded, out)
    stream(report.url, out)
    rows = []
    for i in (0, len(signals) - 1):  # chords come before voices
        cells = [Cell(keys[i], signals[i].mean(1))]
        for channels, clips in decoded.items():
            ratio = 2 * signals[i].size / dataset.group_bytes(np.array([i]))[0, : _groups(dataset, channels)].sum()
            caption = f"{channels} of 108 channels: {ratio:.0f}:1, PSNR {psnr(signals[i], clips[i]):.1f} dB"
            cells.append(Cell(caption, clips[i].mean(1)))
        rows.append(cells)
    sheet = base / "sheet-audio.png"
    draw_audio_sheet("Synthesised audio before and after: left and right together, 44.1 kHz", rows, RATE).save(sheet)
    print(f"waveforms and spectrograms before and after: {sheet}", file=out, flush=True)
    return sheet


def _write_clips(folder: Path, recordings: int) -> dict[str, Floats]:
    """Makes 16-bit WAV files; returns what they hold, by their keys in a store."""
    made = {}
    with Progress() as shown:
        shown.begin("making clips", total=recordings, unit="recordings")
        for number in range(recordings):
            kind, make = (("voice", speech_like), ("chords", chords))[number % 2]
            path = folder / kind / f"{kind}-{number // 2:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = np.rint(make(number // 2, SECONDS, RATE) * 32767).astype("<i2")
            with wave.open(str(path), "wb") as file:
                file.setnchannels(2)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(samples.tobytes())
            made[f"{kind}/{path.stem}"] = samples.astype(np.float32) / np.float32(32768)
            shown.advance(1, bytes_out=path.stat().st_size)
    return made


def _groups(dataset: LatentDataset, channels: int) -> int:
    return -(-channels // dataset.codec.group_channels)


def _decoded(dataset: LatentDataset) -> list[Floats]:
    """Every recording of the store, decoded from the channels that `dataset` reads."""
    steps, sizes = dataset.step_codes(dataset.fields()), dataset.sizes()
    assert steps is not None
    latents = dataset.read_latents(np.arange(len(dataset)))
    return [
        dataset.decode(latent[None], (1, int(n)), steps[i : i + 1], LINEAR)[0]
        for i, (latent, (_, n)) in enumerate(zip(latents, sizes, strict=True))
    ]


def _compare(dataset: LatentDataset, signals: Sequence[Floats], decoded: dict[int, list[Floats]], out: TextIO) -> None:
    """Prints bytes, PSNR and speed in one thread, beside 16-bit PCM, FLAC, and Ogg Vorbis of about the same bytes."""
    codec, quality = cast("AudioCodec", dataset.codec), dataset.quality
    table = _Table(signals, out)
    table.row("16-bit PCM", 2 * table.values)
    flac = [_flac(signal) for signal in signals]
    table.row("FLAC", sum(map(len, flac)), None, _best(lambda: [_flac(x) for x in signals]),
              _best(lambda: [_read(data) for data in flac]))  # fmt: skip
    encode = _best(lambda: [codec.compress(x, quality) for x in signals])
    fast = _best(lambda: [codec.compress(x, quality, effort="fast") for x in signals])
    blobs = [codec.compress(x, quality) for x in signals]
    size = 0
    for channels, clips in decoded.items():
        decode = _best(lambda channels=channels: [codec.decompress(blob, channels, decoder=LINEAR) for blob in blobs])  # type: ignore[misc]
        fetched = int(dataset.group_bytes()[:, : _groups(dataset, channels)].sum())
        whole = channels == codec.channels
        size = fetched if whole else size
        table.row(f"{codec.name}, {channels} channels", fetched, clips, encode if whole else 0, decode)
        if whole:
            table.row("the same, effort=fast", 0, None, fast)
    vorbis = next(peer for peer in PEERS if peer.name == "Ogg Vorbis")
    level, _ = nearest_bytes(lambda level: b"".join(vorbis.encode(x, RATE, level) for x in signals), 1, LEVELS, size)
    files = [vorbis.encode(x, RATE, level) for x in signals]
    heard = [aligned(x, _read(data)) for x, data in zip(signals, files, strict=True)]
    table.row("Ogg Vorbis, nearest in bytes", sum(map(len, files)), heard,
              _best(lambda: [vorbis.encode(x, RATE, level) for x in signals]),
              _best(lambda: [_read(data) for data in files]))  # fmt: skip
    table.text("Vorbis aims at what is heard, not at PSNR; about 4 kB of each of its files are headers.\n")


def _best(action: Callable[[], object]) -> float:
    return min(seconds_of(action) for _ in range(3))


def _flac(signal: Floats) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, signal, RATE, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def _read(data: bytes) -> Floats:
    import soundfile

    return np.asarray(soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0])


class _Table:
    """Prints rows of sizes and speeds of all signals together; 0 and None stay blank."""

    def __init__(self, signals: Sequence[Floats], out: TextIO) -> None:
        self.signals, self.out, self.values = signals, out, sum(signal.size for signal in signals)
        heads = f"{'MB':>7}{'to one':>8}{'SNR dB':>8}{'PSNR dB':>9}{'encode':>9}{'decode':>9}"
        self.text(f"{'':34}{heads}   M samples/s, one thread")

    def row(
        self, name: str, size: int, clips: Sequence[Floats] | None = None, encode: float = 0, decode: float = 0
    ) -> None:
        measures: list[float] = [0, 0]
        if clips is not None:
            pairs = list(zip(self.signals, clips, strict=True))
            measures = [float(np.mean([measure(a, b) for a, b in pairs])) for measure in (snr, psnr)]
        cells = [
            f"{size / 1e6:7.2f}{2 * self.values / size:8.1f}" if size else " " * 15,
            *(f"{value:{width}.1f}" if value else " " * width for value, width in zip(measures, (8, 9), strict=True)),
            *(f"{self.values / seconds / 1e6:9.1f}" if seconds else " " * 9 for seconds in (encode, decode)),
        ]
        self.text(f"{name:34}{''.join(cells)}".rstrip())

    def text(self, line: str) -> None:
        print(line, file=self.out, flush=True)
