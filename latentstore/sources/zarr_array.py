"""A Zarr array as a source, by path or URL.

It holds images, (N, H, W), (N, H, W, C) or (N, C, H, W), or waveforms, (N, n), (N, n, inputs) or (N, inputs, n).

In a group, the array is the only one with that many axes, or the one with a name of `Kind.names`. Arrays of N values
beside it are fields of the samples; ``labels`` becomes ``label``, and ``key`` holds the keys. The rate of waveforms is
such an array with a name of `RATES`, or an attribute of the array or of its group.

Images of floats have one range for the whole array, 0 to 1 or 0 to 255. An attribute of the array or of its group says
it (`RANGES`: ``[0, 1]`` or ``[0, 255]``), or else the largest value of the array decides.

zarr reads it, through `loaders.remote.zarr_store`, so that the retry policy is the same as everywhere.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.modality import MAX_RATE_HZ
from latentstore.loaders.columns import Field
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.zarr_store import tried, zarr_store
from latentstore.sources.floats import FLOATS, floats_to_eight
from latentstore.sources.item import Item, key_of, unique_keys
from latentstore.sources.remarks import Told

__all__ = ["IMAGES", "WAVEFORMS", "ArrayItem", "Kind", "SignalArray", "fitting", "list_array"]

RATES = ("rate", "sample_rate", "sampling_rate")
RANGES = ("range", "value_range", "data_range", "valid_range")
# A largest value between 1 and this may be that of 0 to 1 after a resize, or of a nearly black array.
UNCLEAR = 2.0


@dataclass(frozen=True)
class Kind:
    """What an array may hold, images or waveforms.

    many: their noun. names: of arrays that are meant, the best first. axes: their number, without and with channels.
    channels: the most there may be. types: dtypes, by name, or "b" or "f" for all bools or floats. shapes, said: the
    shapes and the types, for messages. has_white: floats have a value that is white. has_rate: signals have a rate.
    """

    many: str
    names: tuple[str, ...]
    axes: tuple[int, int]
    channels: int
    types: tuple[str, ...]
    shapes: str
    said: str
    has_white: bool = False
    has_rate: bool = False

    def channels_first(self, shape: tuple[int, ...]) -> bool:
        """Whether channels are the second axis. If both the second and the last could be, they are the last."""
        return len(shape) == self.axes[1] and shape[-1] > self.channels >= shape[1]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of that shape may be meant."""
        some = len(shape) == self.axes[0] or (len(shape) == self.axes[1] and min(shape[-1], shape[1]) <= self.channels)
        return some and all(shape)


IMAGES = Kind(
    "images", ("images", "image", "images", "img", "data", "x"), (3, 4), 4, ("b", "f", "uint8", "uint16"),
    "(N, H, W), (N, H, W, C) and (N, C, H, W) with C from 1 to 4", "bool, uint8, uint16 and floats are images",
    has_white=True,
)  # fmt: skip
WAVEFORMS = Kind(
    "waveforms", ("audio", "waveforms", "waveform", "clips", "signals", "data", "x"), (2, 3), 16,
    ("f", "int16", "int32"), "(N, n), (N, n, inputs) and (N, inputs, n) with inputs from 1 to 16",
    "floats, int16 and int32 are waveforms", has_rate=True,
)  # fmt: skip
# The signals of a chunk are decoded together, once. Where a chunk is larger than this, they are read one by one.
BLOCK_BYTES = 256 << 20

_last = threading.local()


class SignalArray:
    """The array. Each process opens it by itself, when it first reads from it.

    white: of images of floats, the value that is white, 1 or 255; such images are read as uint8.
    """

    def __init__(self, location: Location, path: str, kind: Kind) -> None:
        self.location, self.path, self.kind = location, path, kind
        self.white: float | None = None
        self._array: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    @property
    def array(self) -> Any:
        if self._array is None:
            import zarr

            store = zarr_store(self.location)
            self._array = tried(self.location, lambda: zarr.open_array(store, path=self.path, mode="r"))
        return self._array

    @property
    def length(self) -> tuple[int, int]:
        """(number of samples, number of channels), the same for every waveform."""
        shape = self.array.shape
        first = self.kind.channels_first(shape)
        return shape[2 if first else 1], 1 if len(shape) == 2 else shape[1 if first else 2]

    def signal(self, index: int) -> np.ndarray:
        """Image or waveform `index`: (H, W), (H, W, C), (n,) or (n, C), in the array's own dtype.

        StoreError if it cannot be read; SignalError if it has floats outside the array's range.
        """
        array = self.array
        rows = array.chunks[0]
        if rows * array.dtype.itemsize * int(np.prod(array.shape[1:])) > BLOCK_BYTES:
            rows = 1
        block = index // rows
        # Each thread keeps the block that it read last: the signals of a task follow each other.
        if getattr(_last, "of", None) != (id(self), block):
            try:
                part = tried(self.location, lambda: array[block * rows : (block + 1) * rows])
                _last.rows = np.asarray(part)
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise StoreError(f"{self.location.at(self.path)}: row {index} cannot be read: {error}") from error
            _last.of, _last.keep = (id(self), block), self
        signal: np.ndarray = _last.rows[index - block * rows]
        if self.white is not None:
            signal = floats_to_eight(signal, self.white)
        return np.moveaxis(signal, 0, -1) if self.kind.channels_first(array.shape) else signal


@dataclass(frozen=True)
class ArrayItem(Item):
    """One signal of the array."""

    source: SignalArray | None = None
    index: int = 0

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        assert self.source is not None
        return self.source.signal(self.index), self.fields

    @property
    def stamp_tells(self) -> bool:
        return False

    def fingerprint(self) -> str:
        assert self.source is not None
        return hashlib.blake2b(self.source.signal(self.index).tobytes(), digest_size=16).hexdigest()


def fitting(location: Location, kinds: Sequence[Kind]) -> Kind:
    """The first of the kinds that an array may hold, or an array of a group; errors of `list_array` for the first."""
    node, failure = _open(location), None
    for kind in kinds:
        try:
            _array(location, node, kind)
            return kind
        except ArgumentError as error:
            failure = failure or error
    raise failure or ArgumentError(f"the source {location.url} holds no signals")


def list_array(location: Location, kind: Kind = IMAGES, rate: int | None = None) -> tuple[list[Item], tuple[Told, ...]]:
    """(the signals of an array, or of the array of such signals in a group, in order; what is worth knowing of them).

    rate: in hertz, of waveforms that do not say theirs. Waveforms have the field ``rate`` (int). StoreError if the
    array cannot be read; ArgumentError if it holds no such signals, or nothing says the rate.
    """
    url, node = location.url, _open(location)
    name, array, arrays = _array(location, node, kind)
    source = SignalArray(location, name, kind)
    count = array.shape[0]
    where = f"{url}/{name}" if name else url
    told: tuple[Told, ...] = ()
    if kind.has_white and array.dtype.kind == "f":
        source.white = _white(location, where, array, {**node.attrs, **array.attrs})
        told = (Told(FLOATS[source.white].kind, count),)
    columns = {key: values for key, other in sorted(arrays.items()) if (values := _column(location, other, count))}
    if "label" not in columns and "labels" in columns:
        columns["label"] = columns.pop("labels")
    if kind.has_rate:
        columns["rate"] = _rates(url, columns, {**node.attrs, **array.attrs}, rate, count)
    wanted = columns.pop("key", None) or [f"{i:0{max(6, len(str(count - 1)))}d}" for i in range(count)]
    keys = unique_keys((key_of(str(key)), "") for key in wanted)
    size = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    items: list[Item] = [
        ArrayItem(key, f"{where}[{i}]", size, str(i), {n: column[i] for n, column in columns.items()}, source, i)
        for i, key in enumerate(keys)
    ]
    return items, told


def _white(location: Location, where: str, array: Any, attributes: Mapping[str, Any]) -> float:
    """The value that is white, 1 or 255, for all images of the array."""
    for name in RANGES:
        if name in attributes:
            for white in FLOATS:
                if attributes[name] == [0, white]:
                    return white
            raise ArgumentError(
                f"the array {where} says {name} = {attributes[name]!r}; images of floats lie in [0, 1] or [0, 255]"
            )
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    highest, rows = 0.0, max(1, min(array.chunks[0], BLOCK_BYTES // row_bytes))
    for start in range(0, array.shape[0], rows):
        part = tried(location, lambda start=start: np.asarray(array[start : start + rows]))  # type: ignore[misc]
        highest = max(highest, float(np.fmax.reduce(part, axis=None)))  # of what is a number
        if highest > UNCLEAR:
            return 255.0
    if highest > 1:
        raise ArgumentError(
            f"the array {where} has floats up to {highest:g}, so that its range is neither clearly 0..1 nor 0..255: "
            "store the attribute 'range' with it, [0, 1] or [0, 255]"
        )
    return 1.0


def _open(location: Location) -> Any:
    import zarr

    try:
        store = zarr_store(location)
        return tried(location, lambda: zarr.open(store, mode="r"))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise StoreError(f"the source {location.url} cannot be opened as Zarr: {error}") from error


def _array(location: Location, node: Any, kind: Kind) -> tuple[str, Any, dict[str, Any]]:
    """(name, array of signals, the arrays beside it by name)."""
    import zarr

    if "latentstore" in node.attrs:
        raise ArgumentError(f"the source {location.url} is a latentstore store already; `latentstore export` reads it")
    name, array, arrays = "", node, {}
    if isinstance(node, zarr.Group):
        arrays = tried(location, lambda: dict(node.arrays()))
        name = _choose(location.url, arrays, kind)
        array = arrays.pop(name)
    _check(location.url, name, array, kind)
    return name, array, arrays


def _choose(url: str, arrays: dict[str, Any], kind: Kind) -> str:
    likely = [name for name, array in arrays.items() if array.ndim in kind.axes]
    named = [name for name in kind.names if name in likely]
    if len(likely) == 1 or named:
        return named[0] if named else likely[0]
    has = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"
    raise ArgumentError(
        f"the group {url}: no array of {kind.many} is the only one there, or has a usual name (the group has {has}); "
        "give the URL of the array itself"
    )


def _check(url: str, name: str, array: Any, kind: Kind) -> None:
    shape = array.shape
    if not kind.fits(shape):
        raise ArgumentError(f"the array {url}/{name} of shape {shape} holds no {kind.many}; {kind.shapes} do")
    if array.dtype.kind not in kind.types and array.dtype.name not in kind.types:
        raise ArgumentError(f"the array {url}/{name} is of type {array.dtype}; {kind.said}")


def _rates(
    url: str, columns: dict[str, list[Field]], attributes: Mapping[str, Any], given: int | None, count: int
) -> list[Field]:
    """The rate of each waveform in hertz. A column that holds it is removed from `columns`."""
    for name in RATES:
        rates = columns.pop(name, None) or ([attributes[name]] * count if name in attributes else None)
        if rates is not None:
            if not all(
                isinstance(rate, int | float) and rate == int(rate) and 1 <= rate <= MAX_RATE_HZ for rate in rates
            ):
                raise ArgumentError(
                    f"the source {url}: its {name} is not a whole number of hertz, from 1 to {MAX_RATE_HZ:,}"
                )
            return [int(rate) for rate in rates]
    if given is None:
        raise ArgumentError(
            f"the source {url} does not say the rate of its waveforms: give the rate in hertz, or store it as the "
            "attribute 'rate'"
        )
    return [given] * count


def _column(location: Location, array: Any, count: int) -> list[Field] | None:
    """The values of an array that has one for each signal, in Python's own types; None for any other array."""
    if array.shape != (count,) or array.dtype.kind not in "biufUOT":
        return None
    values = tried(location, lambda: array[:].tolist())
    return [int(v) if isinstance(v, bool) else v for v in values]
