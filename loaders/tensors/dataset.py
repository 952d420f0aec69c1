"""A store of tensors, with latents beside them or without, as a map-style data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.arguments import require_index
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.remote.fetch import FetchedPart, Fetcher
from latentstore.loaders.sharded import ShardedDataset, python_value
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.encoder import Encoder
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.tensors.read import VersionReader, read_coder

if TYPE_CHECKING:
    from latentstore.codecs.neural.decoder import Decoder


class TensorDataset(ShardedDataset):
    """A store of fields, as a map-style data set for torch (len, getitem): one version of it.

    It can be pickled, and used in forked and spawned workers. Several threads may call its methods at once. Where the
    store gets a new version meanwhile, this stays the version that was opened.

    tensors: the declarations of the tensor fields that are read, by name. encoders: of those that have one. latents:
    by name the fields of latents that are read, each as the data set that a store of these latents alone would be: with
    their codec, sizes, statistics and `decode`. version: of the store, from 1 on. url: of the store. info: the whole
    manifest.
    """

    def __init__(
        self, reader: VersionReader, others: Sequence[str], fetcher: Fetcher | None = None,
        latents: dict[str, LatentDataset] | None = None,
    ) -> None:  # fmt: skip
        """fetcher, latents: of a data set that was pickled; what was pickled with it has the same ones."""
        super().__init__(reader, fetcher or Fetcher(reader, reader.groups))
        meta = reader.meta
        self.reader = reader
        self.others = list(others)
        self.latents = self._fields_of_latents() if latents is None else latents
        self.tensors: dict[str, Tensor] = {name: meta.tensors[name] for name in reader.names if name in meta.tensors}
        self.encoders: dict[str, Encoder] = {n: e for n, e in meta.encoders.items() if n in self.tensors}
        self.version = meta.version
        self.info: dict[str, Any] = meta.attributes
        self.coders = {name: self._coder(name, meta.coders[name]) for name in self.tensors}

    def _fields_of_latents(self) -> dict[str, LatentDataset]:
        reader = self.reader
        return {
            name: LatentDataset(
                LatentReader(reader, name), reader.channels, FetchedPart(self._fetcher, reader.columns[name])
            )
            for name in reader.names
            if name in reader.meta.latents
        }

    def _coder(self, name: str, sha256: str) -> TensorCoder:
        location = self.reader.location
        with still_there(self.reader):
            data = read_coder(location, sha256)
        coder = TensorCoder.of_bytes(data, location.at(layout.coder_name(sha256)))
        if coder.tensor != self.tensors[name]:
            raise ArgumentError(f"{location.at(layout.coder_name(sha256))} is not the coder of the field {name!r}")
        return coder

    def __getstate__(self) -> dict[str, Any]:
        return {"reader": self.reader, "others": self.others, "fetcher": self._fetcher, "latents": self.latents}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        names = ", ".join([*self.reader.names, *self.others])
        return f"TensorDataset({self.url!r}: {len(self)} samples of {names}, version {self.version})"

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each field that is opened and has no blobs, see `loaders.columns.KINDS`."""
        return {name: self.reader.meta.kinds[name] for name in self.others}

    @property
    def padded(self) -> LatentDataset | None:
        """The latents that are opened and are padded in batches, since their lengths differ; None where none are."""
        return next((one for one in self.latents.values() if one.modality.pads and one.size is None), None)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample: {"key": str, "text": array of the declared type, "image": int8 (channels, h, w), "label": int,
        ...}, where "image" is a field of latents.

        Negative indices count from the end. IndexError if there is no such sample; ArgumentError if the index is no
        whole number.
        """
        one = np.array([require_index(index, len(self), "sample", self.url)], np.int64)
        arrays = {name: arrays[0] for name, arrays in self._read(one).items()}
        others = {name: python_value(values[0]) for name, values in self.values(one).items()}
        return {"key": self.reader.keys(one)[0], **arrays, **others}

    def values(self, indices: np.ndarray) -> dict[str, Any]:
        """The fields that have no blobs and that are opened: int64 or float64 (n,), or lists of str or bytes."""
        if not self.others:
            return {}
        return {name: value for name, value in self.reader.fields(indices).items() if name in self.others}

    def read(self, indices: np.ndarray | None = None) -> dict[str, list[np.ndarray]]:
        """The tensors and latents of samples, by field: n arrays, of the declared type or int8.

        indices: whole numbers (n,), or a mask, bool (len,), or None for all. CorruptError and StoreError name the shard
        and the key.
        """
        return self._read(self._indices(indices))

    def decode(
        self,
        latents: np.ndarray,
        size: tuple[int, int],
        steps: np.ndarray | None = None,
        decoder: str | Decoder | None = None,
    ) -> np.ndarray:
        """Latents to images or audio; see `LatentDataset.decode`. ArgumentError unless the data set has one field of
        latents: of several, each has a `decode` of its own, in `latents`."""
        if not self.latents:
            raise ArgumentError(
                f"{self.url} is opened with no latents of latentstore's codecs: tensors are decoded by whoever encoded "
                "them"
            )
        if len(self.latents) > 1:
            raise ArgumentError(
                f"{self.url} is opened with the fields of latents {', '.join(self.latents)}: decode with "
                "ds.latents[NAME].decode"
            )
        return next(iter(self.latents.values())).decode(latents, size, steps, decoder)

    def read_alike(self, indices: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray | list[np.ndarray]]:
        """Some tensor fields of samples, int64 (n,) that are not checked: an array (n, *shape) where all shapes are the
        same, else a list of n arrays."""
        found: dict[str, np.ndarray | list[np.ndarray]] = {}
        for name, blobs in self._fetched(indices, names).items():
            coder = self.coders[name]
            with self._named(indices, name):
                alike = len(blobs) > 0 and len(set(coder.shapes(blobs))) == 1
                found[name] = coder.decode_stacked(blobs) if alike else coder.decode(blobs)
        return found

    def _read(self, indices: np.ndarray) -> dict[str, list[np.ndarray]]:
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.reader.names}  # in order
        with still_there(self.reader):
            for name, blobs in self._fetched(indices, list(self.tensors)).items():
                with self._named(indices, name):
                    found[name] = self.coders[name].decode(blobs)
        for name, ds in self.latents.items():
            found[name] = [ds.modality.shaped(latent) for latent in ds.read_latents(indices)]
        return found

    def _fetched(self, indices: np.ndarray, names: Sequence[str]) -> dict[str, Blobs]:
        """The blobs of some tensor fields, in one go."""
        if not names:
            return {}
        picked = [self.reader.columns[name].start for name in names]
        every = picked == list(range(self.reader.groups))
        blobs = self._fetcher.fetch(indices, None if every else picked)
        rows = np.arange(len(indices)) * len(names)
        return {name: blobs.take(rows + at) for at, name in enumerate(names)}

    @contextmanager
    def _named(self, indices: np.ndarray, name: str) -> Iterator[None]:
        """Errors about the blob of one of these samples name the shard and the key."""
        try:
            yield
        except LatentstoreError as error:
            if error.index is None:
                raise
            index = int(indices[error.index])
            where = self.where(index)
            self.reader.location.forget(self.reader.shard_of(index))
            raise type(error)(f"{where}, field {name!r}: {error}") from error

    def shapes(self, name: str) -> np.ndarray | None:
        """The shapes of the tensors of a field, int64 (len, rank), or (1, rank) where all are the same; None where not
        even their rank is. Of latents, height and width of the signals. The index of every shard is read for it."""
        parts = self.reader.shapes(name)
        if not parts or any(part is None for part in parts):
            return None
        known = [part for part in parts if part is not None]
        if len({part.shape[1] for part in known}) > 1:
            return None
        if all(len(part) == 1 and (part == known[0]).all() for part in known):
            return known[0]
        counts = np.diff(self.shard_starts).tolist()
        return np.concatenate([np.broadcast_to(p, (n, p.shape[1])) for p, n in zip(known, counts, strict=True)])
