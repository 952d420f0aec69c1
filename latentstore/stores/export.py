"""From a store back to files, PNG or 16-bit WAV, one per sample, named by its key."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.codecs.modality import AUDIO
from latentstore.progress import Progress
from latentstore.words import words_of

if TYPE_CHECKING:
    from latentstore.loaders import LatentDataset

__all__ = ["export", "file_path"]

BATCH = 32
BATCH_SAMPLES = 1 << 24
# Its header counts bytes in 32 bits.
MAX_WAV_BYTES = (1 << 32) - 1024


def export(
    store: str,
    folder: str,
    *,
    limit: int | None = None,
    channels: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> int:
    """Writes the first `limit` samples (None: all) of `store` as ``folder/KEY.png``, or audio as ``folder/KEY.wav``;
    returns how many.

    channels: decode from that many channels only (a multiple of the codec's group), fetching only them; None
    is all. The folder must be new or empty. Images have the size they were stored at, audio the rate and the
    length, without the zeros that filled up a window; beyond full scale it is clipped. Raises StoreError,
    CorruptError (naming shard and key), ArgumentError.
    """
    from latentstore import open as open_store

    if limit is not None and limit < 0:
        raise ArgumentError(f"limit is {limit}; it is a count of samples, 0 or more")
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{folder} exists and is not an empty folder; nothing is exported over other files")
    dataset = open_store(store, channels=channels, storage_options=dict(storage_options or {}) or None)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with Progress(progress) as shown, ThreadPoolExecutor() as pool:
            shown.begin(f"exporting to {folder}", total=count, unit=words_of(dataset.codec.mode).many)
            batch = _batch(dataset)
            for start in range(0, count, batch):
                indices = np.arange(start, min(start + batch, count))
                for size in pool.map(lambda one: _write(out, *one), _signals(dataset, indices)):
                    shown.advance(1, bytes_out=size)
    except OSError as error:
        raise StoreError(f"{folder}: could not be written: {error.strerror or error}") from error
    return count


def _batch(dataset: LatentDataset) -> int:
    """Samples to decode before any of them is written: fewer of long audio, to bound the memory."""
    if dataset.modality is not AUDIO:
        return BATCH
    return max(1, min(BATCH, BATCH_SAMPLES // int(dataset.sizes()[:, 1].max(initial=1))))


def _signals(dataset: LatentDataset, indices: np.ndarray) -> Iterator[tuple[str, np.ndarray, int]]:
    """(key, image or audio, rate in hertz of audio) of each sample."""
    fields = dataset.fields(indices)
    steps = dataset.step_codes(fields)
    samples = zip(dataset.keys(indices), dataset.read_latents(indices), dataset.sizes(indices).tolist(), strict=True)
    for i, (key, latent, (height, width)) in enumerate(samples):
        signal = dataset.decode(latent[None], (height, width), None if steps is None else steps[i : i + 1])[0]
        if dataset.modality is AUDIO:
            signal = signal[: int(fields["samples"][i]) if "samples" in fields else width]
        rate = int(fields["rate"][i]) if (dataset.modality is AUDIO) else 0
        if (dataset.modality is AUDIO) and not 1 <= rate < 1 << 28:
            raise CorruptError(f"{dataset.where(int(indices[i]))}: its rate is {rate} hertz")
        yield key, signal, rate


def _write(folder: Path, key: str, signal: np.ndarray, rate: int) -> int:
    path = file_path(folder, key, ".wav" if rate else ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    if rate:
        _write_wav(path, signal, rate)
    else:
        _write_png(path, signal)
    return path.stat().st_size


def _write_png(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    # Level 1 is three times faster than Pillow's 6 and a few percent larger.
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path, compress_level=1)


def _write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    if 2 * audio.size > MAX_WAV_BYTES:
        raise StoreError(f"{path}: {len(audio):,} samples are too many for a WAV file; read them by `LatentLoader`")
    whole = np.clip(np.rint(audio * np.float32(1 << 15)), -(1 << 15), (1 << 15) - 1).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(audio.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())


def file_path(folder: Path, key: str, extension: str = ".png") -> Path:
    """Where the sample `key` goes; CorruptError if that would leave the folder: stores come from anywhere."""
    parts = PurePosixPath(key).parts
    steers = "\0" in key or (os.name == "nt" and ("\\" in key or ":" in key))
    if not parts or key.startswith("/") or ".." in parts or steers:
        raise CorruptError(f"the store has the key {key!r}, which is no name for a file inside {folder}")
    return folder.joinpath(*parts[:-1], parts[-1] + extension)
