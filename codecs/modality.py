"""What differs between images and audio, said once.

Every codec carries its `Modality`. Code outside the rooms `image/` and `audio/` asks it, and never compares modes. A
new kind of signal (volumes, video, multispectral images) is one more subclass here, a room beside `image/` with its
codec, and an entry in the tables by modality of the layers above (`docs/architecture.md` lists them).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError, AudioError, CorruptError, ImageError, SignalError

__all__ = ["AUDIO", "IMAGE", "LEAST_REDUCTION", "MAX_AREA", "MODALITIES", "Modality", "Nouns", "modality_of"]

LEAST_REDUCTION = 8
"""Pixels of an image's side per latent position, of the codec that has the most positions."""
MAX_PIXELS = 1 << 28
"""No image, its sides rounded up to multiples of 8, has more pixels: a bound on the memory that a forged header can
ask for. Neither side of its latent is beyond MAX_SIDE: narrow planes cost more memory than their area."""
MAX_AREA = MAX_PIXELS // LEAST_REDUCTION**2
"""Positions of a latent plane at most; instants of audio at most."""
MAX_SIDE = 1 << 16
MAX_SAMPLES = (1 << 35) - 1
MAX_RATE_HZ = (1 << 28) - 1
"""The highest rate of audio: of recordings and waveforms that are converted, of artifacts, and in sample blobs."""


@dataclass(frozen=True)
class Nouns:
    """What an entry of a data set is called. one, many: entries. unit: what their size is counted in."""

    one: str
    many: str
    unit: str


class Modality(ABC):
    """One kind of signal.

    name: as manifests say it.
    modes: the modes of its codecs, and their numbers in the header of a sample blob.
    nouns, window_nouns: what entries are called; what pieces of one size that entries are cut into are called.
    error: for an entry of a source that cannot be read.
    fields: the fields (whole numbers) that every sample of a store has.
    highest_quality: the largest quality, or step code of a sample, that the header of a group blob can say.
    longest_number: bytes of the first of `header_numbers` at most.
    steps_said: the range of the step codes, in words.
    outputs: what a loader can give.
    signal: the field of a batch that holds decoded signals.
    axes: axes of a latent after its channels, as users get it.
    tallest: the largest height of a signal.
    has_sparse: whether a group blob may have the sparse form (docs/format.md section 5.6).
    pads: whether samples of many sizes become one padded batch, like sizes together; else they become a list.
    """

    name: ClassVar[str]
    modes: ClassVar[Mapping[str, int]]
    nouns: ClassVar[Nouns]
    window_nouns: ClassVar[Nouns]
    error: ClassVar[type[SignalError]]
    fields: ClassVar[tuple[str, ...]]
    highest_quality: ClassVar[int]
    longest_number: ClassVar[int]
    steps_said: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    signal: ClassVar[str]
    pads: ClassVar[bool]
    axes: ClassVar[int]
    tallest: ClassVar[int]
    has_sparse: ClassVar[bool]

    def __repr__(self) -> str:
        return f"<modality {self.name}>"

    def __reduce__(self) -> Any:
        return self.name.upper()

    # geometry

    @abstractmethod
    def check(self, width: int, height: int, rate: int) -> None:
        """ArgumentError unless a signal of this size can be coded; rate in hertz, 0 of images."""

    @abstractmethod
    def fits(self, height: int, width: int) -> bool:
        """Whether latent planes of this height and width are within the format's bounds."""

    @abstractmethod
    def lanes(self, height: int, width: int) -> int:
        """Streams that the entropy coder cuts a latent plane into (docs/format.md section 5.1)."""

    @abstractmethod
    def header_numbers(self, width: int, height: int, rate: int) -> tuple[int, int]:
        """The two numbers that the header of a sample blob says of the signal."""

    @abstractmethod
    def from_header(self, first: int, second: int) -> tuple[int, int, int]:
        """(width, height, rate) from `header_numbers`; CorruptError where no signal has them."""

    def from_group(self, quality: int, rows: int) -> tuple[int, int]:
        """(quality, rows) from the two numbers of a group blob's header; of audio, (step code of the sample, rows)."""
        return quality, rows

    @abstractmethod
    def shaped(self, latents: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Latents (..., c, h, w) as users get them (a view)."""

    @abstractmethod
    def size_said(self, size: tuple[int, int] | None) -> str:
        """The size (height, width) of a store's samples, or that sizes differ, in words."""

    # samples of a store

    def rate_of(self, fields: Mapping[str, Any]) -> int:
        """The rate in hertz that a sample's fields say; 0 of what has none."""
        return int(fields["rate"]) if "rate" in self.fields else 0

    def step_codes(self, fields: Mapping[str, Any], where: str) -> npt.NDArray[np.int64] | None:
        """int64 (n,): the step codes of samples with these columns of fields; None where there are none.

        CorruptError naming `where` if a sample lacks one.
        """
        if "step" not in self.fields:
            return None
        codes = np.asarray(fields.get("step", [0]))
        if codes.dtype.kind != "i" or not self.has_steps(codes).all():
            raise CorruptError(
                f"{where}: its samples do not all have a step code, {self.steps_said}, in the field 'step'"
            )
        return codes.astype(np.int64)

    def has_steps(self, codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Which of these numbers are step codes of samples; 0 alone is, where the store's quality says all."""
        return codes == 0


class _Image(Modality):
    name = "image"
    modes: ClassVar[Mapping[str, int]] = {"L": 0, "RGB": 1}
    nouns = Nouns("image", "images", "pixel")
    window_nouns = nouns
    error = ImageError
    fields = ()
    highest_quality = 100
    longest_number = 4
    steps_said = "0"
    outputs = ("codes", "latents", "pixels")
    signal = "pixels"
    pads = False
    axes = 2
    tallest = MAX_SIDE * LEAST_REDUCTION
    has_sparse = True

    def check(self, width: int, height: int, rate: int = 0) -> None:
        if not self.fits(-(-height // LEAST_REDUCTION), -(-width // LEAST_REDUCTION)):
            raise ArgumentError(
                f"An image of {width} x {height} pixels cannot be coded: it has 1 to {MAX_PIXELS} pixels, and at most "
                f"{MAX_SIDE * LEAST_REDUCTION} on a side; cut it into tiles."
            )

    def fits(self, height: int, width: int) -> bool:
        return 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_AREA

    def lanes(self, height: int, width: int) -> int:
        area = height * width
        lanes = 16 if area >= 4096 else 8 if area >= 2048 else 4 if area >= 1296 else 1
        while lanes > 1 and width < 2 * lanes:
            lanes //= 2
        return lanes

    def header_numbers(self, width: int, height: int, rate: int) -> tuple[int, int]:
        return width, height

    def from_header(self, first: int, second: int) -> tuple[int, int, int]:
        if not self.fits(-(-second // LEAST_REDUCTION), -(-first // LEAST_REDUCTION)):
            raise CorruptError(f"The sample blob claims an image of {first} x {second} pixels.")
        return first, second, 0

    def shaped(self, latents: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return latents

    def size_said(self, size: tuple[int, int] | None) -> str:
        return "native sizes" if size is None else f"{size[0]}x{size[1]}"


class _Audio(Modality):
    """Audio of n samples has width n and height 1; its latent has one row."""

    name = "audio"
    modes: ClassVar[Mapping[str, int]] = {"audio": 8}
    nouns = Nouns("recording", "recordings", "sample frame")
    window_nouns = Nouns("window", "windows", "sample frame")
    error = AudioError
    fields = ("rate", "step")
    highest_quality = 256 * 127 - 1
    longest_number = 5
    steps_said = f"1 to {highest_quality}, without multiples of 256"
    outputs = ("codes", "latents", "waveforms")
    signal = "waveform"
    pads = True
    axes = 1
    tallest = 1
    has_sparse = False

    def check(self, width: int, height: int, rate: int) -> None:
        if not 1 <= width <= MAX_SAMPLES:
            raise ArgumentError(f"Audio of {width} samples cannot be coded: it has at least 1.")
        if height != self.tallest:
            raise ArgumentError(f"The height is {height}; that of audio is {self.tallest}.")
        if not 1 <= rate <= MAX_RATE_HZ:
            raise ArgumentError(f"The rate is {rate}; it is a whole number of hertz, from 1 to {MAX_RATE_HZ:,}.")

    def fits(self, height: int, width: int) -> bool:
        return height == 1 and 1 <= width <= MAX_SIDE

    def lanes(self, height: int, width: int) -> int:
        return 1

    def from_group(self, quality: int, rows: int) -> tuple[int, int]:
        # there is one row; in the place of its number stands the level code, 1 to 127
        return (quality + 256 * (rows - 1), 1) if rows else (quality, 0)

    def has_steps(self, codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        return (codes > 0) & (codes <= self.highest_quality) & (codes & 255 != 0)

    def header_numbers(self, width: int, height: int, rate: int) -> tuple[int, int]:
        return width, rate

    def from_header(self, first: int, second: int) -> tuple[int, int, int]:
        if not 1 <= first <= MAX_SAMPLES or not 1 <= second <= MAX_RATE_HZ:
            raise CorruptError(f"The sample blob claims {first} samples of audio at {second} hertz.")
        return first, 1, second

    def shaped(self, latents: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return latents[..., 0, :]

    def size_said(self, size: tuple[int, int] | None) -> str:
        return "native lengths" if size is None else f"windows of {size[1]}"


IMAGE, AUDIO = _Image(), _Audio()
MODALITIES: tuple[Modality, ...] = (IMAGE, AUDIO)
_BY_MODE = {mode: modality for modality in MODALITIES for mode in modality.modes}


def modality_of(mode: str) -> Modality:
    """The modality whose codecs have this mode, "RGB", "L" or "audio"; KeyError if there is none."""
    return _BY_MODE[mode]
