"""From the items of a source to what the codec takes, one after the other: images, recordings, windows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from latentstore.codecs.errors import ArgumentError, AudioError
from latentstore.codecs.modality import AUDIO, MAX_AREA
from latentstore.sources.folder import FileItem
from latentstore.sources.item import Field, Item

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.conversion.shard import Settings
    from latentstore.sources.audio import AudioReader

# Longer audio is encoded in blocks, so that it need not be in memory.
LONG_SAMPLES = 1 << 23
# Stores keep lengths as int32.
MOST_SAMPLES = (1 << 31) - 1

__all__ = ["AudioSignals", "Images", "Signal", "Signals", "signals_of"]


@dataclass(frozen=True)
class Signal:
    """What one sample is encoded from: an image (H, W, C), or audio (n, inputs), and its fields.

    Long audio comes in blocks (m, inputs), by a function that begins anew each time it is called.
    """

    values: np.ndarray | Callable[[], Iterator[np.ndarray]]
    width: int
    height: int
    fields: dict[str, Field]


class Signals(Protocol):
    """Reads the items of one task. bytes_in: of the source that were read so far."""

    bytes_in: int

    def read(self, item: Item) -> Signal:
        """The signal of an item; SignalError where it cannot be read."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""


def signals_of(settings: Settings, codec: Codec) -> Signals:
    """The reader of what this codec takes."""
    return AudioSignals(settings, codec) if codec.modality is AUDIO else Images(settings)


class Images:
    """See `Signals`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.bytes_in = settings, 0

    def read(self, item: Item) -> Signal:
        from latentstore.sources.images import read_image

        data, fields = item.load()
        self.bytes_in += data.nbytes if isinstance(data, np.ndarray) else len(data)
        image = read_image(data, self.settings.mode, self.settings.size)
        return Signal(image, image.shape[1], image.shape[0], fields)

    def close(self) -> None:
        pass


class AudioSignals:
    """See `Signals`. A recording stays open while its windows follow each other, and is decoded once for them."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self.settings, self.codec, self.bytes_in = settings, codec, 0
        self._key = ""
        self._reader: AudioReader | None = None
        self._fields: dict[str, Field] = {}

    def read(self, item: Item) -> Signal:
        from latentstore.sources.windows import WindowItem

        values: np.ndarray | Callable[[], Iterator[np.ndarray]]
        if not isinstance(item, WindowItem):
            reader = self._opened(item)
            self.bytes_in += item.size_bytes or 0
            width = reader.samples
            if width > min(MAX_AREA * self.codec.reduction, MOST_SAMPLES):
                raise AudioError(f"{width:,} samples are more than the format has room for: cut it (--seconds)")
            values = reader.read(0, width) if width <= LONG_SAMPLES else reader.blocks
        else:
            assert item.whole is not None and self.settings.window is not None
            self.bytes_in += item.size_bytes or 0
            is_open = self._reader is not None and self._key == item.whole.key
            reader = self._reader if is_open and self._reader is not None else self._opened(item.whole)
            if item.stop > reader.samples:
                self.close()
                raise AudioError(f"it has {reader.samples:,} samples, fewer than when the source was listed")
            width = self.settings.window
            values = np.zeros((width, self.codec.in_channels), np.float32)
            values[: item.stop - item.start] = reader.read(item.start, item.stop)
        fields: dict[str, Field] = {**self._fields, "rate": reader.rate}
        if isinstance(item, WindowItem):
            fields["samples"] = item.stop - item.start
        return Signal(values, width, 1, fields)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._key, self._reader = "", None

    def _opened(self, item: Item) -> AudioReader:
        from latentstore.sources.audio import AudioReader

        self.close()
        data: bytes | np.ndarray | BinaryIO
        if isinstance(item, FileItem) and item.is_local:
            fields, own = _checked(item.path, dict(item.fields)), None
            data = item.opened()
        else:
            data, beside = item.load()
            fields = dict(beside)
            own = int(fields.pop("rate")) if isinstance(data, np.ndarray) else None
            _checked(item.path, fields)
        self._reader = AudioReader(data, self.codec.in_channels, self.settings.rate, own)
        self._key, self._fields = item.key, fields
        return self._reader


def _checked(path: str, fields: dict[str, Field]) -> dict[str, Field]:
    for name in ("rate", "step", "samples"):
        if name in fields:
            raise ArgumentError(
                f"{path} has a field {name!r}, which audio in a store has of its own: give it another name"
            )
    return fields
