"""`latentstore.open`: from a path or URL to a data set, whatever the layout of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.loaders.cache.folder import CacheFolder
from latentstore.loaders.cache.location import CachedLocation
from latentstore.loaders.cache.settings import chosen_cache
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.manifest import PARTIAL
from latentstore.loaders.reader import BlockReader, Reader
from latentstore.loaders.remote.client import MissingError, RefusedError, ServerError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.urls.place import is_bucket
from latentstore.loaders.tensors import layout as tensors_layout
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.encoder import Encoder, given_encoders, require_encoder
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.tensors.latents import FIELD
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.loaders.tensors.read import VersionReader, read_manifest
from latentstore.loaders.webdataset import layout as wds_layout
from latentstore.loaders.webdataset.read import open_wds
from latentstore.loaders.zarr import layout as zarr_layout
from latentstore.loaders.zarr.read import open_zarr

R = TypeVar("R", bound=BlockReader)


@overload
def open(
    url: str | Path,
    channels: int | None = None,
    storage_options: dict[str, Any] | None = None,
    *,
    cache: bool | str | Path | None = None,
    cache_size: int | str | None = None,
) -> LatentDataset: ...
@overload
def open(
    url: str | Path,
    channels: int | None = None,
    storage_options: dict[str, Any] | None = None,
    *,
    fields: Sequence[str],
    encoder: Encoder | Mapping[str, Encoder] | None = None,
    cache: bool | str | Path | None = None,
    cache_size: int | str | None = None,
) -> TensorDataset: ...
def open(
    url: str | Path,
    channels: int | None = None,
    storage_options: dict[str, Any] | None = None,
    *,
    fields: Sequence[str] | None = None,
    encoder: Encoder | Mapping[str, Encoder] | None = None,
    cache: bool | str | Path | None = None,
    cache_size: int | str | None = None,
) -> LatentDataset | TensorDataset:
    """Open the store at `url` (Zarr, WebDataset, with versions, or of `latentstore.Writer`; a path or any fsspec URL).

    channels: how many of the latents' channels are read, from the first on; None for all. Only the groups that hold
    them are ever read. storage_options: for fsspec. StoreError if there is no store, or its conversion has not ended.

    fields: of a store of `latentstore.Writer`, the fields that are read; None for all. The bytes of the others are
    never fetched. encoder: what must have made the tensors that are read, one `Encoder` for all or one for each field
    by its name: ArgumentError names both if it was another.

    cache: of a remote store, a folder on a local disk that keeps the shards that were read; True for the usual one,
    False for none. By default the environment variable LATENTSTORE_CACHE decides. cache_size: bytes that the folder may
    have, a number or text such as "100GB", which is the default (or what LATENTSTORE_CACHE_SIZE says).

        ds = latentstore.open("photos.zarr", channels=12)
        ds[0]["latent"].shape        # (12, 32, 32)
    """
    location = _located(str(url), storage_options, chosen_cache(cache, cache_size))
    opened = _opened(location)
    if not isinstance(opened, TensorMeta):
        reader = _settled(opened)
        for name, value in (("fields", fields), ("encoder", encoder)):
            if value is not None:
                raise ArgumentError(f"{name} is for stores of tensors, and {url} is one of latents")
        return LatentDataset(reader, channels)
    ds = _open_tensors(location, opened, fields, channels)
    if channels is not None and not ds.latents:
        raise ArgumentError(f"channels is for latents, and {url} is opened with none: choose its fields")
    for name, expected in given_encoders(encoder, opened.tensors).items():
        if name in ds.tensors:
            require_encoder(ds.encoders.get(name), expected, f"the field {name!r} of {url}")
    return ds


def open_latents(
    url: str | Path,
    channels: int | None = None,
    storage_options: dict[str, Any] | None = None,
    cache: bool | None = None,
) -> LatentDataset:
    """As `open`, of a store of latents alone. StoreError if it has other fields."""
    return LatentDataset(open_reader(str(url), storage_options, chosen_cache(cache, None)), channels)


def open_reader(url: str, storage_options: dict[str, Any] | None = None, cache: CacheFolder | None = None) -> Reader:
    """The reader of the store of latents at `url`, whichever its layout. cache: for what is read of a remote store."""
    location = _located(url, storage_options, cache)
    opened = _opened(location)
    if isinstance(opened, TensorMeta):
        has = "latents beside other fields" if opened.latents else "tensors"
        raise StoreError(f"{url} is a store of {has}, and one of latents alone is expected here")
    return _settled(opened)


def _located(url: str, storage_options: dict[str, Any] | None, cache: CacheFolder | None) -> Location:
    if url.endswith(".tar"):
        url = wds_layout.split_target(url)[0]
    for manifest in (wds_layout.MANIFEST, tensors_layout.MANIFEST):
        url = url.removesuffix(f"/{manifest}")
    location = Location(url, storage_options)
    if cache is not None and location.local is None:
        return CachedLocation(url, storage_options, cache)
    return location


def _opened(location: Location) -> Reader | TensorMeta:
    """The reader of a store of latents alone; of a store of fields its manifest. StoreError if there is no store."""
    refused: RefusedError | None = None
    try:  # read at once: whether it is there would be a request of its own
        root = location.read(zarr_layout.ROOT)
    except MissingError:
        pass
    except RefusedError as error:  # so answers a bucket that nobody may list, of what is not there
        refused = error
    else:
        return open_zarr(location, root)
    if _is_there(location, wds_layout.MANIFEST, refused):
        return open_wds(location)
    if _is_there(location, tensors_layout.MANIFEST, refused):
        meta = read_manifest(location)
        return meta if meta.alone is None else LatentReader(VersionReader(location, meta, [FIELD]))
    if refused is not None:
        raise refused
    if _is_begun(location):
        raise StoreError(
            f"{location.url} is not finished: it is still being written, or that was interrupted. Wait for it, or "
            "resume it.",
            remedy="resume",
        )
    names = f"neither {zarr_layout.ROOT} nor {wds_layout.MANIFEST} nor {tensors_layout.MANIFEST}"
    found = names if location.exists() else "nothing at all"
    raise StoreError(f"{location.url}: no latentstore store there (found {found}); check the path")


def _is_there(location: Location, name: str, refused: RefusedError | None) -> bool:
    """Whether there is a manifest. refused: what the server has said of another one, which it may say of this too."""
    try:
        return location.exists(name)
    except ServerError:
        if refused is None:
            raise
        return False


def _is_begun(location: Location) -> bool:
    """Whether a store is being written there, or that was interrupted."""
    try:
        return not is_bucket(location.url) and bool(Location(location.url + PARTIAL, location.storage_options).list())
    except MissingError:  # not even the bucket is there
        return False


def _open_tensors(
    location: Location, meta: TensorMeta, fields: Sequence[str] | None, channels: int | None
) -> TensorDataset:
    names = meta.coded if fields is None else [name for name in fields if name in meta.coded]
    for name in fields or ():
        if name not in meta.fields:
            raise ArgumentError(f"{location.url} has no field {name!r}; it has {', '.join(meta.fields)}")
    others = list(meta.kinds) if fields is None else [name for name in fields if name in meta.kinds]
    reader = VersionReader(location, meta, names, channels if channels is None else whole_number(channels) or 0)
    _settled(reader)
    return TensorDataset(reader, others)


def _settled(reader: R) -> R:
    """`reader`, from now on with the cache if there is one: its manifest has come from the store itself."""
    if isinstance(reader.location, CachedLocation):
        reader.location.identity = reader.cached_as
    return reader
