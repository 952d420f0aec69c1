"""A Zarr array of pictures: (N, H, W), (N, H, W, C) or (N, C, H, W), by any fsspec URL.

In a group, the array is the only one with that many axes, or the one called as in `NAMES`. Arrays of N
values beside it are fields of the samples; ``labels`` is read as ``label``, and ``key`` are the keys.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.sources.item import Field, Item, key_of, unique_keys

__all__ = ["ArrayItem", "PictureArray", "list_array"]

NAMES = ("images", "image", "pictures", "img", "data", "x")
CHANNELS = (1, 2, 3, 4)
# A chunk of many pictures is decoded once for all of them; above this much, pictures are read one by one.
BLOCK_BYTES = 256 << 20

_last = threading.local()


class PictureArray:
    """The array, opened when first used, in each process anew."""

    def __init__(self, url: str, path: str, storage_options: dict[str, Any]) -> None:
        self.url, self.path, self.storage_options = url, path, storage_options
        self._array: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "path": self.path, "storage_options": self.storage_options, "_array": None}

    @property
    def array(self) -> Any:
        if self._array is None:
            import zarr

            self._array = zarr.open_array(
                self.url, path=self.path, mode="r", storage_options=self.storage_options or None
            )
        return self._array

    @property
    def channels_first(self) -> bool:
        """Whether axes are (N, C, H, W); where both readings fit, they are (N, H, W, C)."""
        shape = self.array.shape
        return len(shape) == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS

    def picture(self, index: int) -> np.ndarray:
        """(H, W) or (H, W, C), in the array's own type."""
        array = self.array
        rows = array.chunks[0]
        if rows * array.dtype.itemsize * int(np.prod(array.shape[1:])) > BLOCK_BYTES:
            rows = 1
        block = index // rows
        # One block for each thread: a task's pictures follow each other.
        if getattr(_last, "of", None) != (id(self), block):
            try:
                _last.pixels = np.asarray(array[block * rows : (block + 1) * rows])
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise StoreError(
                    f"{self.url}/{self.path}: picture {index} cannot be read: {error}"
                ) from error
            _last.of, _last.keep = (id(self), block), self
        pixels: np.ndarray = _last.pixels[index - block * rows]
        return np.moveaxis(pixels, 0, -1) if self.channels_first else pixels


@dataclass(frozen=True)
class ArrayItem(Item):
    """One picture of the array."""

    source: PictureArray | None = None
    index: int = 0

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        assert self.source is not None
        return self.source.picture(self.index), self.fields


def list_array(url: str, storage_options: dict[str, Any]) -> list[Item]:
    """The pictures of an array, or of the array of pictures in a group, in order."""
    import zarr

    node = _open(url, storage_options)
    if "latentstore" in node.attrs:
        raise ArgumentError(f"the source {url} is a latentstore store already; `latentstore export` reads it")
    if isinstance(node, zarr.Group):
        arrays = dict(node.arrays())
        name = _choose(url, arrays)
        array = arrays.pop(name)
    else:
        name, array, arrays = "", node, {}
    _check(url, name, array)
    source = PictureArray(url, name, storage_options)
    count = array.shape[0]
    columns = {key: values for key, other in sorted(arrays.items()) if (values := _column(other, count))}
    if "label" not in columns and "labels" in columns:
        columns["label"] = columns.pop("labels")
    wanted = columns.pop("key", None) or [f"{i:0{max(6, len(str(count - 1)))}d}" for i in range(count)]
    keys = unique_keys((key_of(str(key)), "") for key in wanted)
    size = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    where = f"{url}/{name}" if name else url
    return [
        ArrayItem(
            key, f"{where}[{i}]", size, str(i), {n: column[i] for n, column in columns.items()}, source, i
        )
        for i, key in enumerate(keys)
    ]


def _open(url: str, storage_options: dict[str, Any]) -> Any:
    import zarr

    try:
        return zarr.open(url, mode="r", storage_options=storage_options or None)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StoreError(f"the source {url} cannot be opened as Zarr: {error}") from error


def _choose(url: str, arrays: dict[str, Any]) -> str:
    likely = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    named = [name for name in NAMES if name in likely]
    if len(likely) == 1 or named:
        return named[0] if named else likely[0]
    has = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"
    raise ArgumentError(f"the group {url} has no array of pictures that stands out ({has}); give its own URL")


def _check(url: str, name: str, array: Any) -> None:
    shape = array.shape
    fits = len(shape) == 3 or (len(shape) == 4 and (shape[3] in CHANNELS or shape[1] in CHANNELS))
    if not fits or not all(shape):
        raise ArgumentError(
            f"the array {url}/{name} of shape {shape} holds no pictures; (N, H, W), (N, H, W, C) and "
            "(N, C, H, W) with C from 1 to 4 do"
        )
    if not (array.dtype.kind in "bf" or array.dtype in (np.uint8, np.uint16)):
        raise ArgumentError(
            f"the array {url}/{name} is of type {array.dtype}; bool, uint8, uint16 and floats are pictures"
        )


def _column(array: Any, count: int) -> list[Field] | None:
    """The values of a neighbour that has one per picture, as Python's own types."""
    if array.shape != (count,) or array.dtype.kind not in "biufUOT":
        return None
    values = array[:].tolist()
    return [int(v) if isinstance(v, bool) else v for v in values]
