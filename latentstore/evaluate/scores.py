"""What is measured of one entry by one codec, and what every kind of scorer shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latentstore.codecs.arguments import require_prefix, require_quality
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.progress import counted

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec
    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.sources import Item

__all__ = ["Score", "Scorer", "Setting"]


@dataclass(frozen=True)
class Score:
    """One entry by one codec.

    entry: its path. codec: the name of the codec and its setting. bytes: compressed. units: pixels of an image, or
    16-bit samples of a recording. figures: in the order of the scorer's. silenced: whether a recording that is not
    silent came back as silence.
    """

    entry: str
    codec: str
    bytes: int
    units: int
    figures: tuple[float, ...]
    silenced: bool = False


class Setting:
    """Our codec at one quality, and the first `channels` of it; None is the codec's default, and all channels.

    name: of codec, setting and decoder. said: channels and decoder, in words. decoder: as in `Codec.decoder`. limited:
    coefficients that did not fit int8 so far. ArgumentError where quality or channels are out of range.
    """

    def __init__(
        self, codec: Codec, quality: int | None, channels: int | None, decoder: str | Decoder | None = None
    ) -> None:
        self.codec, self.limited = codec, 0
        chosen = codec.decoder(decoder)
        self.decoder = chosen or LINEAR
        self.quality = require_quality(quality, codec.default_quality)
        self.channels = require_prefix(channels, codec.channels)
        part = f", {self.channels} channels" if self.channels < codec.channels else ""
        by = f", decoder {chosen.name}" if chosen else ""
        self.name = f"{codec.name}, quality {self.quality}{part}{by}"
        kept = f"the first {self.channels}" if part else "all"
        self.said = f"{kept} channels, decoder {chosen.name if chosen else LINEAR}"

    def groups(self, signal: np.ndarray) -> list[bytes]:
        """The signal's group blobs."""
        made = self.codec.compress_counted(signal, self.quality)
        self.limited += made.limited
        return made.groups

    def fetched(self, blob: bytes, groups: list[bytes]) -> int:
        """Bytes of the beginning of a blob that holds the wanted channels."""
        wanted = -(-self.channels // self.codec.group_channels)
        return len(blob) - sum(map(len, groups[wanted:]))

    def notes(self) -> list[str]:
        if not self.limited:
            return []
        return [f"{counted(self.limited, 'coefficient')} did not fit int8: a lower quality may come nearer there."]


class Scorer(ABC):
    """Scores entries of one modality.

    size_name: what `size` is called. figures: names of what is measured. digits: of each figure, behind the point.
    steps: of the work on one entry.
    """

    size_name: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    digits: ClassVar[tuple[int, ...]]
    steps = 1

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def scores(self, item: Item, advance: Callable[[int], None]) -> list[Score]:
        """The scores of an entry, ours first; SignalError, before it advances, where it cannot be read.

        advance: is told of every step that is done, `steps` in all.
        """

    @abstractmethod
    def size(self, total_bytes: int, units: int) -> float:
        """The bytes of some entries, in relation to their units."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Lines that explain the table."""
