"""`latentstore.open`: a store as a map-style data set, and the bulk reads that loaders are made of."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from latentstore.codecs.errors import ArgumentError, ArtifactError, LatentstoreError, StoreError
from latentstore.codecs.load import codec_of, register
from latentstore.codecs.modality import modality_of
from latentstore.loaders.reader import Reader
from latentstore.loaders.remote.fetch import Fetched, Fetcher
from latentstore.loaders.remote.location import Location
from latentstore.loaders.webdataset import layout as wds_layout
from latentstore.loaders.webdataset.read import open_wds
from latentstore.loaders.zarr import layout as zarr_layout
from latentstore.loaders.zarr.read import open_zarr

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec


class Stats(NamedTuple):
    """Per channel, float32 (channels,): mean and standard deviation of ``codec.scale(quality) * latent``, or of
    ``codec.scale_of(step) * latent`` with the field ``step`` of each sample of audio."""

    mean: np.ndarray
    std: np.ndarray


def open(url: str | Path, channels: int | None = None, storage_options: dict[str, Any] | None = None) -> LatentDataset:
    """Open the store at `url` (Zarr or WebDataset; a path or any fsspec URL).

    channels: only the first so many of the codec's; only the groups that hold them are ever read.
    storage_options: for fsspec. StoreError if there is no store, or one whose conversion has not finished.

        ds = latentstore.open("photos.zarr", channels=12)
        ds[0]["latent"].shape        # (12, 32, 32)
    """
    reader = open_reader(str(url), storage_options)
    return LatentDataset(reader, channels)


def open_reader(url: str, storage_options: dict[str, Any] | None = None) -> Reader:
    """The reader of the store at `url`, whichever its layout."""
    if url.endswith(".tar"):
        url = wds_layout.split_target(url)[0]
    url = url.removesuffix(f"/{wds_layout.MANIFEST}")
    location = Location(url, storage_options)
    if location.exists(zarr_layout.ROOT):
        return open_zarr(location)
    if location.exists(wds_layout.MANIFEST):
        return open_wds(location)
    if Location(f"{location.url}.partial", storage_options).exists("job.json"):
        raise StoreError(f"{url} is not finished: its conversion was interrupted or still runs; resume it")
    names = f"neither {zarr_layout.ROOT} nor {wds_layout.MANIFEST}"
    raise StoreError(f"{url}: no latentstore store there ({names}{'' if location.exists() else '; nothing at all'})")


class LatentDataset:
    """A store of latents. Map-style for torch (len, getitem), picklable, safe in forked and spawned workers;
    all methods may be called from several threads at once.

    channels: how many of the latents' channels are read. quality: at which they were encoded. size: (height,
    width) of the images, (1, samples) of audio, or None where sizes differ. is_audio: whether it is audio;
    then a sample's latent is (channels, instants). classes: names of the values of field ``label``, or
    None. shard_starts: int64 (shards+1,), the first sample of each shard, then the number of samples.
    """

    def __init__(self, reader: Reader, channels: int | None = None) -> None:
        meta = reader.meta
        self.channels = meta.channels if channels is None else operator.index(channels)
        if not 1 <= self.channels <= meta.channels:
            raise ArgumentError(f"channels={channels}: {reader.location.url} has 1 to {meta.channels}")
        self.groups = -(-self.channels // meta.group_channels)
        self.quality = meta.quality
        self.size = meta.size
        self.modality = modality_of(str(meta.attributes["mode"]))
        self.classes = meta.classes
        self.url = reader.location.url
        self.info: dict[str, Any] = meta.attributes
        self.reader = reader
        self._fetcher = Fetcher(reader, self.groups)
        self._codec: Codec | None = None
        self._check(self.codec)  # also makes it known to plain Zarr in this process

    def _check(self, codec: Codec) -> None:
        meta = self.reader.meta
        if (codec.channels, codec.group_channels) != (meta.channels, meta.group_channels):
            raise ArtifactError(
                f"{self.url}: its artifact {codec.name} has {codec.channels} channels in groups of "
                f"{codec.group_channels}, the store {meta.channels} in groups of {meta.group_channels}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "channels": self.channels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["reader"], state["channels"])  # type: ignore[misc]

    def __repr__(self) -> str:
        size = self.modality.size_said(self.size)
        codec = self.reader.meta.codec
        return f"LatentDataset({self.url!r}: {len(self)} samples, {size}, {codec}, {self.channels} channels)"

    @property
    def codec(self) -> Codec:
        """The codec of the store, made of the artifact inside it."""
        if self._codec is None:
            try:
                self._codec = register(codec_of(self.reader.meta.sha256, self.reader.artifact))
            except ArtifactError as error:
                raise ArtifactError(f"{self.url}: {error}") from error
        return self._codec

    @property
    def stats(self) -> Stats:
        """For normalising: of the dequantised latents, over the whole store."""
        meta = self.reader.meta
        return Stats(meta.mean[: self.channels].copy(), meta.std[: self.channels].copy())

    @property
    def latent_shape(self) -> tuple[int, int, int] | None:
        """(channels, h, w) of every latent, or None where sizes differ."""
        if self.size is None:
            return None
        return (self.channels, *self.codec.latent_shape(*self.size)[1:])

    @property
    def shard_starts(self) -> np.ndarray:
        """int64 (shards+1,): the first sample of each shard, then the number of samples."""
        return self.reader.starts

    @property
    def is_local(self) -> bool:
        """Whether the store is files of this machine, mapped into memory as needed."""
        return self.reader.location.local is not None

    def __len__(self) -> int:
        return self.reader.meta.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        """{"latent": int8 (channels, h, w), of audio (channels, t), "key": str, "label": int, ...}; negative indexes
        count from the end."""
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {self.url}, which has {len(self)}")
        one = np.array([i % len(self)], np.int64)
        fields = {name: _python(values[0]) for name, values in self.fields(one).items()}
        latent = self.read_latents(one)[0]
        return {"latent": self.modality.shaped(latent), "key": self.keys(one)[0], **fields}

    def decode(self, latents: np.ndarray, size: tuple[int, int], steps: np.ndarray | None = None) -> np.ndarray:
        """Latents of one size, int8 (n, channels, h, w), to images uint8 (n, H, W, C), or to audio float32 (n,
        samples, inputs).

        size: (height, width) of each, (1, samples) of audio. steps: int64 (n,), step codes, of audio (`step_codes`).
        """
        return self.codec.decode_samples(latents, self.quality, size, steps)

    def step_codes(self, fields: dict[str, Any]) -> np.ndarray | None:
        """int64 (n,): the step codes of samples with these `fields`, of audio; None of images. CorruptError where
        they are none."""
        return self.modality.step_codes(fields, self.url)

    # ---- in bulk; indices are int64 (n,), each from 0 to len - 1, in any order, repeats allowed

    def read_latents(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray | list[np.ndarray]:
        """int8 (n, channels, h, w), decoded in one call; where sizes differ, a list of (channels, h, w).

        out: where to put them, C-contiguous, of that shape (one size only). CorruptError and StoreError name
        the shard and the key.
        """
        indices = self._indices(indices)
        if self.size is None:
            if out is not None:
                raise ArgumentError(f"{self.url} has images of many sizes: `out` cannot hold them")
            return self._read_native(indices)
        h, w = self.codec.latent_shape(*self.size)[1:]
        gc = self.codec.group_channels
        whole = self.groups * gc == self.channels
        expected = (len(indices), self.channels, h, w)
        if out is not None and (out.shape != expected or out.dtype != np.int8 or not out.flags.c_contiguous):
            raise ArgumentError(f"out must be int8 {expected}, C-contiguous; it is {out.dtype} {out.shape}")
        if out is None or not whole:
            latents = np.empty((len(indices), self.groups * gc, h, w), np.int8)
        else:
            latents = out
        self._decode(indices, self.fetch(indices), latents.reshape(-1, gc, h, w))
        if whole:
            return latents
        if out is None:
            return np.ascontiguousarray(latents[:, : self.channels])
        out[:] = latents[:, : self.channels]
        return out

    def _read_native(self, indices: np.ndarray) -> list[np.ndarray]:
        fetched = self.fetch(indices)
        with self._named(indices):
            latents = self.codec.read_sizes(
                fetched.buffers, fetched.source, fetched.start, fetched.length, self.sizes(indices)
            )
        return [latent[: self.channels] for latent in latents]

    def _decode(self, indices: np.ndarray, fetched: Fetched, out: np.ndarray) -> None:
        with self._named(indices):
            self.codec.read_groups(fetched.buffers, fetched.source, fetched.start, fetched.length, out)

    @contextmanager
    def _named(self, indices: np.ndarray) -> Iterator[None]:
        """Errors about one of the groups of these samples name the shard and the key."""
        try:
            yield
        except LatentstoreError as error:
            if error.index is None:
                raise
            sample, group = divmod(error.index, self.groups)
            where = self.where(int(indices[sample]))
            raise type(error)(f"{where}: group {group}: {error}") from error

    def where(self, index: int) -> str:
        """The shard and the key of sample `index`, for messages."""
        key = self.keys(np.array([index], np.int64))[0]
        return f"{self.reader.location.at(self.reader.shard_of(index))}, {key!r} (sample {index})"

    def fetch(self, indices: np.ndarray) -> Fetched:
        """The group blobs of samples, undecoded, n * groups of them: mapped, held (`load_shards`), or fetched
        now."""
        return self._fetcher.fetch(self._indices(indices))

    def group_bytes(self, indices: np.ndarray | None = None) -> np.ndarray:
        """int64 (n, groups): bytes of each group blob that is read for each sample."""
        return self.reader.locate(self._indices(indices), self.groups)[1]

    def load_shards(self, shards: list[int]) -> None:
        """Read the asked groups of whole shards into memory, one range a shard, and keep them until
        `drop_shards`.

        For object stores and the "block" order: `fetch` and `read_latents` then touch no network.
        """
        self._fetcher.load([int(s) for s in shards])

    def drop_shards(self, shards: list[int]) -> None:
        """Forget shards that `load_shards` read."""
        self._fetcher.drop([int(s) for s in shards])

    def keys(self, indices: np.ndarray | None = None) -> list[str]:
        """The samples' keys; of all samples without `indices`."""
        return self.reader.keys(self._indices(indices))

    def fields(self, indices: np.ndarray | None = None) -> dict[str, Any]:
        """What else the store keeps of the samples: name -> int64 or float64 (n,), or a list of str or
        bytes."""
        return self.reader.fields(self._indices(indices))

    def sizes(self, indices: np.ndarray | None = None) -> np.ndarray:
        """int64 (n, 2): height and width of the images as stored; of audio, 1 and the number of samples."""
        return self.reader.sizes(self._indices(indices))

    def _indices(self, indices: np.ndarray | None) -> np.ndarray:
        if indices is None:
            return np.arange(len(self), dtype=np.int64)
        indices = np.asarray(indices, np.int64)
        if indices.ndim != 1:
            raise ArgumentError(f"indices must be one-dimensional; their shape is {indices.shape}")
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"samples {indices.min()} to {indices.max()} of {self.url}, which has {len(self)}")
        return indices


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
