"""Cuts recordings into windows of one length; every window becomes a sample of the store.

Window i of a recording holds the samples from i * length on, at the store's rate. The last window is kept if at least
half of it is audio, or if it is the only one: no recording is left out for being short. Zeros fill it up. The length
of a recording is read from its header, which is checked as far as its format allows without reading all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from latentstore.codecs.errors import SignalError, StoreError
from latentstore.codecs.modality import AUDIO
from latentstore.sources.audio.files import AudioLength, audio_length
from latentstore.sources.audio.reader import require_near, resampled_length
from latentstore.sources.item import BadItem, Item, unique_keys
from latentstore.sources.signals.contents import reason_of
from latentstore.sources.zarr_array import ArrayItem

__all__ = ["WindowItem", "cut_windows", "window_of"]

HEADERS_AT_A_TIME = 16
DIGITS = 5


@dataclass(frozen=True)
class WindowItem(Item):
    """A window of a recording. start, stop: its samples, at the store's rate; fewer than a window's at the end. total:
    samples of the recording, at that rate."""

    whole: Item | None = None
    start: int = 0
    stop: int = 0
    total: int = 0

    def origin(self) -> tuple[Item, str]:
        assert self.whole is not None
        return self.whole, self.stamp.removeprefix(self.whole.stamp)


def cut_windows(items: Sequence[Item], length: int, rate: int) -> list[Item]:
    """The windows of all recordings, in order, with the keys KEY_00000, KEY_00001, ...

    length: samples of a window. rate: of the store, in hertz. A recording whose header cannot be read becomes one entry
    that cannot be read. StoreError where the place of the source does not answer.
    """
    with ThreadPoolExecutor(HEADERS_AT_A_TIME) as pool:
        headers = list(pool.map(partial(_header, rate), items))
    cut: list[Item] = []
    for item, header in zip(items, headers, strict=True):
        if not isinstance(header, AudioLength):
            bad = item if isinstance(item, BadItem) else None
            cut.append(bad or BadItem(item.key, item.path, item.size_bytes, item.stamp, {}, header))
            continue
        samples = resampled_length(header.samples, header.rate, rate)
        count = max(1, (2 * samples + length) // (2 * length))
        share = None if item.size_bytes is None else item.size_bytes // count
        for i in range(count):
            start, stop = i * length, min((i + 1) * length, samples)
            stamp = f"{item.stamp} {start}+{length}@{rate}"
            path = f"{item.path} [{start / rate:g} s]"
            key = f"{item.key}_{i:0{DIGITS}d}"
            cut.append(WindowItem(key, path, share, stamp, item.fields, item, start, stop, samples))
    keys = unique_keys((item.key, "") for item in cut)
    return [item if item.key == key else item.with_(key=key) for item, key in zip(cut, keys, strict=True)]


def window_of(key: str) -> str:
    """The key of the recording that a window of this key is of; "" if no window has such a key."""
    whole, _, number = key.rpartition("_")
    return whole if len(number) >= DIGITS and number.isdecimal() else ""


def _header(rate: int, item: Item) -> AudioLength | str:
    """The length of a recording, or why it cannot be told."""
    try:
        if isinstance(item, ArrayItem):
            assert item.source is not None
            samples, channels = item.source.length
            length = AudioLength(samples, int(item.fields["rate"]), channels)
        else:
            with item.opened() as file:
                length = audio_length(file, near=item.is_local)
        require_near(length.rate, rate)
        return length
    except SignalError as error:
        return reason_of(item, error, AUDIO)
    except OSError as error:
        raise StoreError(f"{item.path} cannot be read: {error}") from error
