"""Writes the samples of a store back to files: PNG images or 16-bit WAV, named by their keys."""

from __future__ import annotations

import wave
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.opening import open
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.progress import Progress, printable
from latentstore.stores.fields_file import FIELDS, row_of
from latentstore.stores.files import Exported, UnwritableError, file_path, require_empty, why_unwritable, writing_to
from latentstore.stores.tensors.export import export_tensors

if TYPE_CHECKING:
    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["export"]

BATCH = 32
# Samples of audio in a batch at most, unless one recording is longer.
BATCH_SAMPLES = 1 << 24
# The header of a WAV file counts bytes, also those of a second, in 32 bits.
MAX_WAV_BYTES = (1 << 32) - 1024


def export(
    store: str,
    folder: str,
    *,
    limit: int | None = None,
    channels: int | None = None,
    decoder: str | Decoder | None = None,
    format: str | None = None,
    as_float32: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Exported:
    """Writes the samples of `store` as ``folder/KEY.png``, audio as ``folder/KEY.wav``, tensors as files of tensors.

    Of latents beside other fields, files are called ``folder/KEY.FIELD.png`` or ``.wav``. All other fields, such as
    labels, are written to ``folder/fields.jsonl``, a sample a line.

    limit: only the first so many samples; None is all. channels: decode from the first so many channels only, and read
    only those; None is all. decoder: "best", "linear", the name of a trained one such as "small", or what
    `load_decoder` gives; None is "best" for images, "linear" for audio.

    The folder must be new or empty. Images have the size that is stored. Audio has the stored
    rate and length, without the zeros that fill up windows; values beyond full scale are clipped. A sample whose key
    can name no file there, or that no such file can hold, is left out and named.

    format, as_float32: of tensors alone, see `latentstore.stores.tensors.export.export_tensors`.

    StoreError, CorruptError (it names shard and key), ArgumentError.
    """
    if limit is not None and limit < 0:
        raise ArgumentError(f"limit is {limit}; it is a number of samples, 0 or more")
    folder = str(require_empty(folder))
    dataset = open(store, channels=channels, storage_options=dict(storage_options or {}) or None)
    if isinstance(dataset, TensorDataset):
        if decoder is not None and not dataset.latents:
            raise ArgumentError(f"decoder is for stores of latents, and {store} is one of tensors")
        chosen = {name: one.codec.decoder(decoder) or LINEAR for name, one in dataset.latents.items()}
        done = export_tensors(dataset, folder, format or "safetensors", as_float32, limit, progress)
        for name, one in dataset.latents.items():
            more, known = _export(one, folder, f".{name}", limit, chosen[name], progress), dict(done.failures)
            done.count += more.count
            done.failures += [failure for failure in more.failures if failure[0] not in known]
        return done
    if format is not None or as_float32:
        raise ArgumentError(f"format and as_float32 are for stores of tensors, and {store} is one of latents")
    return _export(dataset, folder, "", limit, dataset.codec.decoder(decoder) or LINEAR, progress)


def _export(
    dataset: LatentDataset, folder: str, suffix: str, limit: int | None, decoder: str | Decoder, progress: bool | None
) -> Exported:
    """Writes signals; suffix: between the key and the extension. Fields are written where the store has no others."""
    out, files = Path(folder), _FILES[dataset.modality.name]
    count = len(dataset) if limit is None else min(limit, len(dataset))
    done, rows = Exported(), list[str]()
    with writing_to(folder):
        out.mkdir(parents=True, exist_ok=True)
        with Progress(progress) as shown, ThreadPoolExecutor() as pool:
            shown.begin(f"exporting to {folder}", total=count, unit=dataset.modality.nouns.many)
            batch = files.batch(dataset)
            for start in range(0, count, batch):
                samples = _samples(dataset, files, np.arange(start, min(start + batch, count)), decoder)
                for key, size, reason, row in pool.map(lambda sample: _write(out, files, suffix, *sample), samples):
                    shown.advance(1, bytes_out=size)
                    if reason:
                        done.failures.append((key, reason))
                        shown.note(f"not written: {printable(repr(key))}: {reason}")
                    else:
                        done.count += 1
                        rows.append(row)
        if dataset.kinds and not suffix:
            (out / FIELDS).write_text("".join(rows), encoding="utf-8")
    return done


class _Files(ABC):
    """How samples of one modality become files."""

    extension: ClassVar[str]

    def batch(self, dataset: LatentDataset) -> int:
        """Samples to decode before any of them is written."""
        return BATCH

    def whole(self, signal: np.ndarray, fields: dict[str, Any], width: int) -> np.ndarray:
        """The signal without what only fills it up. width: of the sample, as stored."""
        return signal

    @abstractmethod
    def write(self, path: Path, signal: np.ndarray, rate: int) -> None:
        """Writes one file, which is not there yet. rate: in hertz, of audio."""


class _Png(_Files):
    extension = ".png"

    def write(self, path: Path, signal: np.ndarray, rate: int) -> None:
        from PIL import Image

        # Level 1 is three times faster than Pillow's 6; files are a few percent larger.
        image = Image.fromarray(signal[..., 0] if signal.shape[-1] == 1 else signal)
        with path.open("xb") as file:
            image.save(file, "PNG", compress_level=1)


class _Wav(_Files):
    extension = ".wav"

    def batch(self, dataset: LatentDataset) -> int:
        # fewer of long audio, to bound the memory
        return max(1, min(BATCH, BATCH_SAMPLES // int(dataset.sizes()[:, 1].max(initial=1))))

    def whole(self, signal: np.ndarray, fields: dict[str, Any], width: int) -> np.ndarray:
        return signal[: int(fields.get("samples", width))]

    def write(self, path: Path, signal: np.ndarray, rate: int) -> None:
        if 2 * signal.size > MAX_WAV_BYTES:
            raise UnwritableError(f"{len(signal):,} samples are too many for a WAV file: read them with `LatentLoader`")
        if 2 * signal.shape[1] * rate > MAX_WAV_BYTES:
            raise UnwritableError(f"its rate of {rate:,} hertz is too high for a WAV file: read it with `LatentLoader`")
        whole = np.clip(np.rint(signal * np.float32(1 << 15)), -(1 << 15), (1 << 15) - 1).astype("<i2")
        with path.open("xb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(signal.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(whole.tobytes())


_FILES: dict[str, _Files] = {"image": _Png(), "audio": _Wav()}


def _samples(
    dataset: LatentDataset, files: _Files, indices: np.ndarray, decoder: str | Decoder
) -> Iterator[tuple[str, np.ndarray, int, dict[str, Any]]]:
    """(key, signal, rate in hertz, fields) of each sample; the rate of images is 0."""
    columns = dataset.fields(indices)
    steps = dataset.step_codes(columns)
    samples = zip(dataset.keys(indices), dataset.read_latents(indices), dataset.sizes(indices).tolist(), strict=True)
    for i, (key, latent, (height, width)) in enumerate(samples):
        fields = {name: column[i] for name, column in columns.items()}
        rate = dataset.modality.rate_of(fields)
        try:
            dataset.modality.check(width, height, rate)
        except ArgumentError as error:
            raise CorruptError(f"{dataset.where(int(indices[i]))}: {error}") from error
        step = None if steps is None else steps[i : i + 1]
        signal = dataset.decode(latent[None], (height, width), step, decoder)[0]
        yield key, files.whole(signal, fields, width), rate, fields


def _write(
    folder: Path, files: _Files, suffix: str, key: str, signal: np.ndarray, rate: int, fields: dict[str, Any]
) -> tuple[str, int, str, str]:
    """Writes one sample: (its key, the bytes of its file, why it could not be written or "", its row)."""
    try:
        path = file_path(folder, key, suffix + files.extension)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, signal, rate)
        return key, path.stat().st_size, "", row_of(key, fields)
    except (UnwritableError, CorruptError, OSError) as error:
        return key, 0, why_unwritable(error), ""
