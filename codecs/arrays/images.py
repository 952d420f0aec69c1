"""Images in a chunk of an array: each is one part, coded with loss as a sample blob.

Zarr pads chunks at the array's edge with the fill value, and does not tell a codec where the padding begins. So rows
and columns at an image's end that hold only the fill value are left out: the blob is of the rest, and says its own
size. Padding costs no bytes and does not disturb the image. Rows that really had that value come back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arrays.chunk_bytes import Grid, Parts, check_size
from latentstore.codecs.arrays.options import SIGNAL, SignalOptions
from latentstore.codecs.bitstream.group import at_once
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.modality import IMAGE

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["ImageChunks", "check_images", "written_size"]

Uint8s = npt.NDArray[np.uint8]


class ImageChunks:
    """Codes chunks of `shape`, uint8; a `PartCoder`."""

    kind = 0
    dtype = np.dtype(np.uint8)
    bare = False

    def __init__(self, options: SignalOptions, codec: Codec, shape: tuple[int, ...], fill: int) -> None:
        check_images(options, shape, codec)
        assert isinstance(codec, ImageCodec)
        self.options = options
        self.codec = codec
        self.sha256 = codec.sha256
        self.fill = fill
        self.grid = Grid(shape, tuple(1 if letter == "n" else n for letter, n in zip(options.axes, shape, strict=True)))
        sides = codec.latent_shape(shape[options.height], shape[options.width])[1:]
        self.at_once = max(1, at_once(*sides) // codec.groups)

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """Axes: batch, height, width, channel."""
        o = self.options
        batch = [i for i, letter in enumerate(o.axes) if letter == "n"]
        return (*batch, o.height, o.width, *(() if o.channel is None else (o.channel,)))

    def _image(self, block: Uint8s) -> Uint8s:
        """A part as (H, W, C), a view."""
        image = block.transpose(self._order)[(0,) * self.options.axes.count("n")]
        return image if image.ndim == 3 else image[..., None]

    def encode(self, block: Uint8s, part: int) -> bytes:
        image = self._image(block)
        height, width = written_size(image, self.fill)
        if not height:
            return b""
        written = np.ascontiguousarray(image[:height, :width])
        return self.codec.compress(written, self.options.quality, self.options.effort)  # type: ignore[arg-type]

    def decode(self, chunks: Sequence[Parts]) -> None:
        places, blobs = [], []
        for chunk, numbers, coded in chunks:
            for part, blob in zip(numbers, coded, strict=True):
                place = self._image(chunk[self.grid.block(part)])
                height, width = self._size(blob, part)
                if (height, width) != place.shape[:2]:
                    place[...] = self.fill
                places.append(place[:height, :width])
                blobs.append(memoryview(blob))
        for i in range(0, len(blobs), self.at_once):
            self.codec.decompress_into(blobs[i : i + self.at_once], places[i : i + self.at_once])

    def _size(self, blob: Any, part: int) -> tuple[int, int]:
        info = split_sample(memoryview(blob))
        most = [self.grid.shape[i] for i in (self.options.height, self.options.width)]
        if info.height > most[0] or info.width > most[1]:
            raise CorruptError(
                f"image {part} of the chunk has {info.height} x {info.width} pixels where at most "
                f"{most[0]} x {most[1]} fit"
            )
        return info.height, info.width

    def loses_nothing_outside(self, blob: Any) -> tuple[int, ...] | None:
        if not len(blob):
            return None
        size = [1] * len(self.grid.shape)
        size[self.options.height], size[self.options.width] = self._size(blob, 0)
        if self.options.channel is not None:
            size[self.options.channel] = self.grid.shape[self.options.channel]
        return tuple(size)


def written_size(image: Uint8s, fill: int) -> tuple[int, int]:
    """(height, width) of `image` (H, W, C) without the rows and columns at its end that hold only `fill`; (0, 0) if
    all does.
    """
    height, width = image.shape[:2]
    if height and width and (image[-1] != fill).any() and (image[:, -1] != fill).any():
        return height, width  # the common case, at the price of one row and one column
    there = (image != fill).any(axis=2)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return (int(rows[-1]) + 1, int(columns[-1]) + 1) if rows.size else (0, 0)


def check_images(options: SignalOptions, shape: tuple[int, ...], codec: Codec | None) -> None:
    """Raises ArgumentError unless chunks of `shape` hold images as `options` say. codec: where it is known already."""
    axes = options.axes
    if len(shape) != len(axes):
        raise ArgumentError(
            f"codec {SIGNAL!r}: axes {axes!r} name {len(axes)} axes, the array has {len(shape)}: {shape}; "
            f"give a letter each"
        )
    if codec and not isinstance(codec, ImageCodec):
        raise ArgumentError(f"codec {SIGNAL!r} stores images, and {codec.name} codes {codec.mode}")
    check_size(shape)
    channels = 1 if options.channel is None else shape[options.channel]
    wanted = {codec.in_channels} if codec else {1, 3}
    if channels not in wanted:
        who = f"{codec.name} codes {codec.mode} images" if codec else "images have 1 or 3 channels"
        raise ArgumentError(
            f"codec {SIGNAL!r}: axes {axes!r} and shape {shape} give images of {channels} channels, but "
            f"{who}: keep the channel axis whole in each chunk, name it c in axes, or choose the codec for "
            "them"
        )
    if math.prod(shape):
        IMAGE.check(shape[options.width], shape[options.height])
