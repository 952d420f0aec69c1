"""A Zarr array of images, (N, H, W), (N, H, W, C) or (N, C, H, W), or of waveforms, (N, n), (N, n, inputs) or
(N, inputs, n), by any fsspec URL.

In a group, the array is the only one with that many axes, or the one called as in `Kind.names`. Arrays of N
values beside it are fields of the samples; ``labels`` is read as ``label``, and ``key`` are the keys. The rate of
waveforms is such an array called as in `RATES`, or an attribute of the array or of its group.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.sources.item import Field, Item, key_of, unique_keys

__all__ = ["IMAGES", "WAVEFORMS", "ArrayItem", "Kind", "SignalArray", "list_array"]

RATES = ("rate", "sample_rate", "sampling_rate")


@dataclass(frozen=True)
class Kind:
    """What an array may hold. axes: without and with channels; at: of the axis that channels are on where they are
    not last; types: by name, or "b" or "f" for all of a kind."""

    many: str
    names: tuple[str, ...]
    axes: tuple[int, int]
    channels: int
    types: tuple[str, ...]
    shapes: str
    said: str

    def channels_first(self, shape: tuple[int, ...]) -> bool:
        """Whether channels are the second axis; where both readings fit, they are the last."""
        return len(shape) == self.axes[1] and shape[-1] > self.channels >= shape[1]

    def fits(self, shape: tuple[int, ...]) -> bool:
        some = len(shape) == self.axes[0] or (len(shape) == self.axes[1] and min(shape[-1], shape[1]) <= self.channels)
        return some and all(shape)


IMAGES = Kind(
    "images", ("images", "image", "images", "img", "data", "x"), (3, 4), 4, ("b", "f", "uint8", "uint16"),
    "(N, H, W), (N, H, W, C) and (N, C, H, W) with C from 1 to 4", "bool, uint8, uint16 and floats are images",
)  # fmt: skip
WAVEFORMS = Kind(
    "waveforms", ("audio", "waveforms", "waveform", "clips", "audio", "signals", "data", "x"), (2, 3), 16,
    ("f", "int16", "int32"), "(N, n), (N, n, inputs) and (N, inputs, n) with inputs from 1 to 16",
    "floats, int16 and int32 are waveforms",
)  # fmt: skip
# A chunk of many signals is decoded once for all of them; above this much, they are read one by one.
BLOCK_BYTES = 256 << 20

_last = threading.local()


class SignalArray:
    """The array, opened when first used, in each process anew."""

    def __init__(self, url: str, path: str, storage_options: dict[str, Any], kind: Kind) -> None:
        self.url, self.path, self.storage_options, self.kind = url, path, storage_options, kind
        self._array: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    @property
    def array(self) -> Any:
        if self._array is None:
            import zarr

            self._array = zarr.open_array(
                self.url, path=self.path, mode="r", storage_options=self.storage_options or None
            )
        return self._array

    @property
    def length(self) -> tuple[int, int]:
        """(samples, channels) of every waveform."""
        shape = self.array.shape
        first = self.kind.channels_first(shape)
        return shape[2 if first else 1], 1 if len(shape) == 2 else shape[1 if first else 2]

    def signal(self, index: int) -> np.ndarray:
        """(H, W), (H, W, C), (n,) or (n, C), in the array's own type."""
        array = self.array
        rows = array.chunks[0]
        if rows * array.dtype.itemsize * int(np.prod(array.shape[1:])) > BLOCK_BYTES:
            rows = 1
        block = index // rows
        # One block for each thread: a task's signals follow each other.
        if getattr(_last, "of", None) != (id(self), block):
            try:
                _last.rows = np.asarray(array[block * rows : (block + 1) * rows])
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise StoreError(f"{self.url}/{self.path}: row {index} cannot be read: {error}") from error
            _last.of, _last.keep = (id(self), block), self
        signal: np.ndarray = _last.rows[index - block * rows]
        return np.moveaxis(signal, 0, -1) if self.kind.channels_first(array.shape) else signal


@dataclass(frozen=True)
class ArrayItem(Item):
    """One signal of the array."""

    source: SignalArray | None = None
    index: int = 0

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        assert self.source is not None
        return self.source.signal(self.index), self.fields


def list_array(url: str, storage_options: dict[str, Any], kind: Kind = IMAGES, rate: int | None = None) -> list[Item]:
    """The signals of an array, or of the array of such signals in a group, in order.

    rate: of waveforms that do not say theirs, in hertz. Waveforms have the field ``rate`` (int).
    """
    import zarr

    node = _open(url, storage_options)
    if "latentstore" in node.attrs:
        raise ArgumentError(f"the source {url} is a latentstore store already; `latentstore export` reads it")
    if isinstance(node, zarr.Group):
        arrays = dict(node.arrays())
        name = _choose(url, arrays, kind)
        array = arrays.pop(name)
    else:
        name, array, arrays = "", node, {}
    _check(url, name, array, kind)
    source = SignalArray(url, name, storage_options, kind)
    count = array.shape[0]
    columns = {key: values for key, other in sorted(arrays.items()) if (values := _column(other, count))}
    if "label" not in columns and "labels" in columns:
        columns["label"] = columns.pop("labels")
    if kind is WAVEFORMS:
        columns["rate"] = _rates(url, columns, {**node.attrs, **array.attrs}, rate, count)
    wanted = columns.pop("key", None) or [f"{i:0{max(6, len(str(count - 1)))}d}" for i in range(count)]
    keys = unique_keys((key_of(str(key)), "") for key in wanted)
    size = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    where = f"{url}/{name}" if name else url
    return [
        ArrayItem(key, f"{where}[{i}]", size, str(i), {n: column[i] for n, column in columns.items()}, source, i)
        for i, key in enumerate(keys)
    ]


def _open(url: str, storage_options: dict[str, Any]) -> Any:
    import zarr

    try:
        return zarr.open(url, mode="r", storage_options=storage_options or None)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StoreError(f"the source {url} cannot be opened as Zarr: {error}") from error


def _choose(url: str, arrays: dict[str, Any], kind: Kind) -> str:
    likely = [name for name, array in arrays.items() if array.ndim in kind.axes]
    named = [name for name in kind.names if name in likely]
    if len(likely) == 1 or named:
        return named[0] if named else likely[0]
    has = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"
    raise ArgumentError(f"the group {url} has no array of {kind.many} that stands out ({has}); give its own URL")


def _check(url: str, name: str, array: Any, kind: Kind) -> None:
    shape = array.shape
    if not kind.fits(shape):
        raise ArgumentError(f"the array {url}/{name} of shape {shape} holds no {kind.many}; {kind.shapes} do")
    if array.dtype.kind not in kind.types and array.dtype.name not in kind.types:
        raise ArgumentError(f"the array {url}/{name} is of type {array.dtype}; {kind.said}")


def _rates(
    url: str, columns: dict[str, list[Field]], attributes: Mapping[str, Any], given: int | None, count: int
) -> list[Field]:
    """The rate of each waveform in hertz; a column that says it is taken out of `columns`."""
    for name in RATES:
        rates = columns.pop(name, None) or ([attributes[name]] * count if name in attributes else None)
        if rates is not None:
            if not all(isinstance(rate, int | float) and rate == int(rate) and 1 <= rate < 1 << 28 for rate in rates):
                raise ArgumentError(f"the source {url}: its {name} is not a whole number of hertz, at least 1")
            return [int(rate) for rate in rates]
    if given is None:
        raise ArgumentError(
            f"the source {url} does not say the rate of its waveforms: give it as --rate, or as the attribute 'rate'"
        )
    return [given] * count


def _column(array: Any, count: int) -> list[Field] | None:
    """The values of a neighbour that has one per signal, as Python's own types."""
    if array.shape != (count,) or array.dtype.kind not in "biufUOT":
        return None
    values = array[:].tolist()
    return [int(v) if isinstance(v, bool) else v for v in values]
