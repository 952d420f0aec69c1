"""What the codec's methods accept: each function returns its argument, checked, or raises ArgumentError."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import IMAGE, REDUCTION

__all__ = [
    "EFFORTS",
    "Buffer",
    "Effort",
    "require_audio",
    "require_blob",
    "require_effort",
    "require_image",
    "require_prefix",
    "require_quality",
    "require_size",
]

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
Effort = Literal["default", "fast"]
EFFORTS: tuple[Effort, ...] = ("default", "fast")


def require_quality(quality: int | None, default: int) -> int:
    """The quality asked for, or the default: a whole number from 1 to 100."""
    if quality is None:
        return default
    whole = _whole(quality)
    if whole is None or not 1 <= whole <= 100:
        raise ArgumentError(f"quality is {quality!r}; it is a whole number from 1 to 100.")
    return whole


def require_prefix(channels: int | None, most: int) -> int:
    """How many of the first channels are asked for; all, `most`, by default."""
    if channels is None:
        return most
    whole = _whole(channels)
    if whole is None or not 1 <= whole <= most:
        raise ArgumentError(f"channels is {channels!r}; it is a whole number from 1 to {most}.")
    return whole


def require_effort(effort: Effort) -> Effort:
    if effort not in EFFORTS:
        raise ArgumentError(f"effort is {effort!r}; it is 'default' or 'fast'.")
    return effort


def require_image(image: npt.ArrayLike, mode: str, codec: str) -> npt.NDArray[np.uint8]:
    """An image uint8 (H, W, C); mode "L" takes (H, W) too."""
    image, colours = np.asarray(image), 3 if mode == "RGB" else 1
    if mode == "L" and image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != colours:
        raise ArgumentError(
            f"The image is {image.dtype} {image.shape}; {codec} takes uint8 (height, width, {colours}):"
            " convert it first."
        )
    IMAGE.check(image.shape[1], image.shape[0])
    return image


def require_audio(signal: Any, inputs: int, codec: str) -> npt.NDArray[np.float32]:
    """Audio float32 (n, inputs), full scale 1, from any float, or int16 or int32 whose full scale is their type's;
    one input takes (n,) too."""
    given = np.asarray(signal)
    if inputs == 1 and given.ndim == 1:
        given = given[:, None]
    if given.ndim != 2 or given.shape[1] != inputs or not len(given):
        raise ArgumentError(
            f"The audio is {given.dtype} {given.shape}; {codec} takes (samples, {inputs}), one sample or more."
        )
    if given.dtype in (np.int16, np.int32):
        return given.astype(np.float32) * np.float32(-1 / np.iinfo(given.dtype).min)
    if given.dtype.kind != "f":
        raise ArgumentError(f"The audio is {given.dtype}; {codec} takes float (full scale 1), int16 or int32.")
    audio = np.ascontiguousarray(given, np.float32)
    # beyond this, sums of squares are no longer numbers; full scale is 1
    if not np.abs(audio).max() <= 1e6:
        raise ArgumentError("The audio holds values that are not finite, or beyond a million times full scale.")
    return audio


def require_size(size: tuple[int, int] | None, latent: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the image whose latent has planes of this height and width."""
    height, width = latent
    if size is None:
        return height * REDUCTION, width * REDUCTION
    sides = [_whole(side) for side in size] if isinstance(size, tuple | list) else []
    # checked before an image of that size is allocated
    if [side and -(-side // REDUCTION) for side in sides] != [height, width]:
        raise ArgumentError(
            f"size is {size!r}; a latent of {height} x {width} is of an image (height, width) from "
            f"({height * REDUCTION - REDUCTION + 1}, {width * REDUCTION - REDUCTION + 1}) "
            f"to ({height * REDUCTION}, {width * REDUCTION})."
        )
    return operator.index(size[0]), operator.index(size[1])


def require_blob(blob: Any, index: int | None = None) -> memoryview:
    """Bytes, or any other contiguous buffer of bytes; index: of a blob in the caller's list."""
    this = "The blob" if index is None else f"Blob {index}"
    try:
        return memoryview(blob).cast("B")
    except TypeError as error:
        raise ArgumentError(f"{this} is not bytes but {type(blob).__name__} ({error}).", index) from error


def _whole(value: Any) -> int | None:
    """The number if it is a whole one of any integer type; truth values are none."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
