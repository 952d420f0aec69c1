"""The front end of audio: every entry is a recording, or a window of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from latentstore.codecs.arguments import Effort
from latentstore.codecs.errors import ArgumentError, AudioError
from latentstore.codecs.modality import AUDIO, MAX_AREA, MAX_RATE_HZ
from latentstore.loaders.columns import Field
from latentstore.sources.audio.reader import MAX_VALUES, AudioReader, library_versions
from latentstore.sources.audio.windows import WindowItem, cut_windows
from latentstore.sources.folder import FileItem
from latentstore.sources.item import Item
from latentstore.sources.remarks import Remark
from latentstore.sources.signals.base import FrontEnd, Signal, Signals
from latentstore.sources.signals.settings import Settings

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.codecs.codec import Codec

__all__ = ["AudioFrontEnd", "AudioSignals"]

# Longer recordings are encoded in blocks, so that they need not be in memory as a whole.
LONG_SAMPLES = 1 << 23
# Stores keep lengths as int32.
MOST_SAMPLES = (1 << 31) - 1
# The store and the front end add these fields to every sample of audio.
OWN_FIELDS = (*AUDIO.fields, "samples")


class AudioFrontEnd(FrontEnd):
    """See `FrontEnd`."""

    def settings(
        self, codec: Codec, *, quality: int, effort: Effort, raise_errors: bool,
        size: int | str | None, color: str | None, damaged: str | None, seconds: float | None, rate: int | None,
    ) -> Settings:  # fmt: skip
        for name, value in (("size", size), ("color", color), ("damaged", damaged)):
            if value is not None:
                raise ArgumentError(
                    f"{name} applies to images, and {codec.name} is a codec of audio: leave it out, or use a codec of "
                    "images"
                )
        if rate is not None:
            AUDIO.check(1, 1, rate)
        window = None
        if seconds is not None:
            rate = cast("AudioCodec", codec).rate if rate is None else rate
            window = _window(seconds, rate, codec.in_channels)
        return Settings(codec.mode, quality, effort, raise_errors, window=window, rate=rate)

    def entries(self, items: Sequence[Item], settings: Settings) -> Sequence[Item]:
        if settings.window is None or settings.rate is None:
            return items
        return cut_windows(items, settings.window, settings.rate)

    def signals(self, settings: Settings, codec: Codec) -> Signals:
        return AudioSignals(settings, codec)

    def facts(self, settings: Settings, count: int) -> dict[str, Any]:
        cut: dict[str, Any] = {"window": settings.window, "rate": settings.rate, settings.nouns.many: count}
        return {**cut, **library_versions(settings.rate is not None)}

    def asked(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        window, rate = facts["window"], facts["rate"]
        return {"seconds": None if window is None else window / rate, "rate": rate}


class AudioSignals:
    """See `Signals`. A recording stays open while its windows follow each other, so it is decoded only once."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self.settings, self.codec, self.bytes_in = settings, codec, 0
        self._key = ""
        self._reader: AudioReader | None = None
        self._fields: dict[str, Field] = {}

    def read(self, item: Item) -> Signal:
        self.bytes_in += item.size_bytes or 0
        return self._window(item) if isinstance(item, WindowItem) else self._recording(item)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._key, self._reader = "", None

    def _recording(self, item: Item) -> Signal:
        reader = self._opened(item)
        width = reader.samples
        if width > min(MAX_AREA * self.codec.reduction, MOST_SAMPLES):
            raise AudioError(f"{width:,} samples are more than the format has room for: cut it into windows")
        fields = {**self._fields, "rate": reader.rate}
        if width <= LONG_SAMPLES:
            return Signal(reader.read(0, width), width, 1, fields, _remarks(reader))
        remarks: list[Remark] = []

        def blocks() -> Iterator[np.ndarray]:
            yield from reader.blocks()
            remarks[:] = _remarks(reader)

        return Signal(blocks, width, 1, fields, remarks)

    def _window(self, item: WindowItem) -> Signal:
        assert item.whole is not None and self.settings.window is not None
        reader = self._reader
        if reader is None or self._key != item.whole.key:
            reader = self._opened(item.whole)
            try:
                reader.check_scale()
            except AudioError:
                self.close()
                raise
        if reader.samples != item.total:
            self.close()
            less = "fewer" if reader.samples < item.total else "more"
            raise AudioError(
                f"it has {reader.samples:,} samples, {less} than when the source was listed: {item.total:,}"
            )
        reader.begin_levels()
        values = np.zeros((self.settings.window, self.codec.in_channels), np.float32)
        values[: item.stop - item.start] = reader.read(item.start, item.stop)
        fields = {**self._fields, "rate": reader.rate, "samples": item.stop - item.start}
        return Signal(values, len(values), 1, fields, _remarks(reader))

    def _opened(self, item: Item) -> AudioReader:
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
        if self._reader.rate > MAX_RATE_HZ:
            raise AudioError(f"its rate is {self._reader.rate:,} hertz; at most {MAX_RATE_HZ:,} are stored")
        self._key, self._fields = item.key, fields
        return self._reader


def _remarks(reader: AudioReader) -> list[Remark]:
    """What is worth knowing of what was read."""
    found = reader.levels.remarks()
    if reader.rate < reader.own_rate:
        found.append(Remark("down-sampled", f"{reader.own_rate:,} to {reader.rate:,} Hz"))
    return found


def _window(seconds: float, rate: int, inputs: int) -> int:
    """Samples of a window."""
    longest = MAX_VALUES // inputs
    window = round(seconds * rate) if 0 < seconds < float("inf") else 0
    if not 1 <= window <= longest:
        raise ArgumentError(
            f"seconds is {seconds:g}; at {rate} hertz a window lasts {1 / rate:g} to {longest / rate:,.0f} seconds"
        )
    return window


def _checked(path: str, fields: dict[str, Field]) -> dict[str, Field]:
    for name in OWN_FIELDS:
        if name in fields:
            raise ArgumentError(
                f"{path} has a field {name!r}, a name that stores of audio use themselves: rename that field"
            )
    return fields
