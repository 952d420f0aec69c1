"""A store of latents as a map-style data set, and the bulk reads that loaders are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import require_index, whole_number
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, LatentstoreError
from latentstore.codecs.load import codec_of, register
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.reader import Reader
from latentstore.loaders.remote.fetch import FetchedPart, Fetcher
from latentstore.loaders.sharded import ShardedDataset, python_value
from latentstore.loaders.stats import Stats

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec
    from latentstore.codecs.neural.decoder import Decoder


class LatentDataset(ShardedDataset):
    """A store of latents, as a map-style data set for torch (len, getitem).

    It can be pickled, and used in forked and spawned workers. Several threads may call its methods at once.

    channels: how many of the latents' channels are read. quality: at which they were encoded, 1 to 100. modality: what
    kind of signal the samples are. size: (height, width) of every image, (1, samples) of all audio, or None where sizes
    differ. classes: names of the values of the field ``label``, or None. url: of the store. info: the whole manifest.

    fetched: what brings the blobs, where the latents are one field of a store that has others.
    """

    def __init__(self, reader: Reader, channels: int | None = None, fetched: FetchedPart | None = None) -> None:
        meta = reader.meta
        self.channels = meta.channels if channels is None else whole_number(channels) or 0
        if not 1 <= self.channels <= meta.channels:
            raise ArgumentError(f"channels is {channels!r}; {reader.location.url} has 1 to {meta.channels}")
        self.groups = -(-self.channels // meta.group_channels)
        self.quality = meta.quality
        self.size = meta.size
        self.modality = meta.modality
        self.classes = meta.classes
        super().__init__(reader, Fetcher(reader, self.groups))
        self._part = fetched
        self.info: dict[str, Any] = meta.attributes
        self.reader = reader
        self._codec: Codec | None = None
        self._check(self.codec)  # also makes it known to plain Zarr in this process

    def _check(self, codec: Codec) -> None:
        meta = self.reader.meta
        own = (codec.modality.name, codec.channels, codec.group_channels)
        said = (meta.modality.name, meta.channels, meta.group_channels)
        if own != said:
            form = "{} with {} channels in groups of {}".format
            raise ArtifactError(
                f"{self.url}: its artifact {codec.name} is for {form(*own)}, but the manifest says {form(*said)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "channels": self.channels, "fetched": self._part}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        size = self.modality.size_said(self.size)
        codec = self.reader.meta.codec
        return f"LatentDataset({self.url!r}: {len(self)} samples, {size}, {codec}, {self.channels} channels)"

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each field by its name, see `loaders.columns.KINDS`."""
        return self.reader.meta.kinds

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
        """Mean and standard deviation of dequantised latents over the whole store, for normalising."""
        meta = self.reader.meta
        return Stats(meta.mean[: self.channels].copy(), meta.std[: self.channels].copy())

    @property
    def latent_shape(self) -> tuple[int, int, int] | None:
        """(channels, h, w) of every latent, or None where sizes differ."""
        if self.size is None:
            return None
        return (self.channels, *self.codec.latent_shape(*self.size)[1:])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample: {"latent": int8 (channels, h, w), of audio (channels, t), "key": str, "label": int, ...}.

        Negative indices count from the end. IndexError if there is no such sample; ArgumentError if the index is no
        whole number.
        """
        one = np.array([require_index(index, len(self), "sample", self.url)], np.int64)
        fields = {name: python_value(values[0]) for name, values in self.reader.fields(one).items()}
        latent = self._read(one, None)[0]
        return {"latent": self.modality.shaped(latent), "key": self.reader.keys(one)[0], **fields}

    def decode(
        self,
        latents: np.ndarray,
        size: tuple[int, int],
        steps: np.ndarray | None = None,
        decoder: str | Decoder | None = None,
    ) -> np.ndarray:
        """Latents of one size to images, uint8 (n, H, W, C), or to audio, float32 (n, samples, inputs).

        latents: int8 (n, channels, h, w). size: (height, width) of each, (1, samples) of audio. steps: for audio, the
        step codes that `step_codes` gives, int64 (n,). decoder: "best", "linear", the name of a trained decoder of the
        store's codec such as "small", or what `load_decoder` gives; None is "best" for images, "linear" for audio.
        ArgumentError if one of them is something else.
        """
        if steps is not None and (np.ndim(steps) != 1 or np.asarray(steps).dtype.kind not in "iu"):
            raise ArgumentError(f"steps are {np.asarray(steps).dtype} {np.shape(steps)}; int64 (n,) is expected")
        return self.codec.decode_samples(latents, self.quality, size, steps, decoder)

    def step_codes(self, fields: dict[str, Any]) -> np.ndarray | None:
        """The step codes of samples with these `fields`: int64 (n,) of audio, None of images.

        CorruptError if a sample has none.
        """
        return self.modality.step_codes(fields, self.url)

    # ---- in bulk; for indices see `ShardedDataset`

    def read_latents(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray | list[np.ndarray]:
        """The latents of samples, int8 (n, channels, h, w), decoded in one call. Where sizes differ, a list of n arrays
        int8 (channels, h, w).

        out: where to put them: of that shape and dtype, C-contiguous; only where all sizes are the same. CorruptError
        and StoreError name the shard and the key.
        """
        return self._read(self._indices(indices), out)

    def _blobs(self, indices: np.ndarray) -> Blobs:
        """The blobs of samples: from the whole store that this is a field of, unless shards are in memory here."""
        if self._part is None or self._fetcher.holds_blocks:
            return self._fetcher.fetch(indices)
        return self._part.fetch(indices)

    def _read(self, indices: np.ndarray, out: np.ndarray | None) -> np.ndarray | list[np.ndarray]:
        if self.size is None:
            if out is not None:
                raise ArgumentError(f"{self.url} has {self.modality.nouns.many} of many sizes: `out` cannot hold them")
            return self._read_native(indices)
        h, w = self.codec.latent_shape(*self.size)[1:]
        gc = self.codec.group_channels
        whole = self.groups * gc == self.channels
        expected = (len(indices), self.channels, h, w)
        if out is not None and (out.shape != expected or out.dtype != np.int8 or not out.flags.c_contiguous):
            raise ArgumentError(f"out must be int8 {expected}, C-contiguous; it is {out.dtype} {out.shape}")
        with still_there(self.reader), self._named(indices):
            fetched = self._blobs(indices)
            place = self.codec.entropy.place(fetched, h, w) if out is None or not whole else out.reshape(-1, gc, h, w)
            self.codec.read_groups(fetched, place)
        latents = place.reshape(len(indices), self.groups * gc, h, w)
        if whole:
            return latents if out is None else out
        if out is None:
            return np.ascontiguousarray(latents[:, : self.channels])
        out[:] = latents[:, : self.channels]
        return out

    def _read_native(self, indices: np.ndarray) -> list[np.ndarray]:
        with still_there(self.reader), self._named(indices):
            fetched, sizes = self._blobs(indices), self.reader.sizes(indices)
            latents = self.codec.read_sizes(fetched, sizes)
        return [latent[: self.channels] for latent in latents]

    def read_windows(self, indices: np.ndarray, first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
        """The instants from first[i] to before last[i] of recordings, int64 (n,) each: n arrays int8 (channels, t).

        Long recordings are stored in segments of 1,024 instants, and only those that are needed are decoded.
        ArgumentError if a window is not within its recording, or the store holds no audio.
        """
        indices = self._indices(indices)
        fetched, sizes = self._blobs(indices), self.reader.sizes(indices)
        with self._named(indices):
            latents = self.codec.read_windows(fetched, sizes, np.asarray(first), np.asarray(last))
        return [self.modality.shaped(latent[: self.channels]) for latent in latents]

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
            self.reader.location.forget(self.reader.shard_of(int(indices[sample])))
            raise type(error)(f"{where}{self.reader.field_said}: group {group}: {error}") from error

    def group_bytes(self, indices: np.ndarray | None = None) -> np.ndarray:
        """int64 (n, groups): bytes of each group blob, of the groups that are opened."""
        return self.reader.locate(self._indices(indices), self.groups)[1]

    def sizes(self, indices: np.ndarray | None = None) -> np.ndarray:
        """int64 (n, 2): height and width of the images as stored; of audio, 1 and the number of samples."""
        return self.reader.sizes(self._indices(indices))
