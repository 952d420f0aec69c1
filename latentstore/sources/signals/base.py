"""What conversion asks of a modality: its options, its entries, and the signals of entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from latentstore.codecs.arguments import Effort
from latentstore.loaders.columns import Field
from latentstore.sources.item import Item
from latentstore.sources.remarks import Remark
from latentstore.sources.signals.settings import Settings

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["FrontEnd", "Signal", "Signals"]


@dataclass(frozen=True)
class Signal:
    """What one sample is encoded from, and its fields.

    values: an image uint8 (H, W, C), or audio float32 (n, inputs). Long audio is a function instead: each call gives
    the blocks float32 (m, inputs) from the beginning. width, height: pixels of an image; samples and 1 of audio.
    remarks: what the report of a conversion tells of it; of long audio, they are complete when the blocks were read.
    """

    values: np.ndarray | Callable[[], Iterator[np.ndarray]]
    width: int
    height: int
    fields: dict[str, Field]
    remarks: Sequence[Remark] = ()


class Signals(Protocol):
    """Reads the entries of one shard, in order. bytes_in: bytes of the source read so far."""

    bytes_in: int

    def read(self, item: Item) -> Signal:
        """The signal of an entry; SignalError where it cannot be read."""
        ...

    def close(self) -> None:
        """Closes what is open."""
        ...


class FrontEnd(ABC):
    """One modality's part of a conversion."""

    @abstractmethod
    def settings(
        self, codec: Codec, *, quality: int, effort: Effort, raise_errors: bool,
        size: int | str | None, color: str | None, damaged: str | None, seconds: float | None, rate: int | None,
    ) -> Settings:  # fmt: skip
        """Checks the options that `convert` was given, and fills in defaults.

        ArgumentError where an option is out of range, or does not apply to this modality.
        """

    @abstractmethod
    def entries(self, items: Sequence[Item], settings: Settings) -> Sequence[Item]:
        """The entries that become samples: the items of the source, or pieces of them. StoreError."""

    @abstractmethod
    def signals(self, settings: Settings, codec: Codec) -> Signals:
        """A reader of entries."""

    @abstractmethod
    def facts(self, settings: Settings, count: int) -> dict[str, Any]:
        """What decides the bytes of a store beside the list of its entries, as JSON: a resumed run must agree on it.

        These are the options for signals, the number of entries, and the versions of the libraries that decode them.
        LatentstoreError where such a library is not installed.
        """

    @abstractmethod
    def asked(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The options for signals that a store was made with, as `settings` takes them, from what `facts` gave."""
