"""The front end of images: every entry is one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
from PIL import __version__ as pillow_version

from latentstore.codecs.arguments import Effort
from latentstore.codecs.errors import ArgumentError
from latentstore.sources.images import DAMAGED, check_options, read_image
from latentstore.sources.item import Item
from latentstore.sources.remarks import Remark
from latentstore.sources.signals.base import FrontEnd, Signal, Signals
from latentstore.sources.signals.settings import Settings

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["ImageFrontEnd", "ImageSignals"]

DEFAULT_SIDE = 256
DEFAULT_DAMAGED = DAMAGED[0]
MAX_SIDE = 1 << 15


class ImageFrontEnd(FrontEnd):
    """See `FrontEnd`."""

    def settings(
        self, codec: Codec, *, quality: int, effort: Effort, raise_errors: bool,
        size: int | str | None, color: str | None, damaged: str | None, seconds: float | None, rate: int | None,
    ) -> Settings:  # fmt: skip
        for name, value in (("seconds", seconds), ("rate", rate)):
            if value is not None:
                raise ArgumentError(
                    f"{name} applies to audio, and {codec.name} is a codec of images: leave it out, or use a codec of "
                    "audio"
                )
        check_options(color, damaged or DEFAULT_DAMAGED)
        return Settings(
            codec.mode, quality, effort, raise_errors, size=_side(size), color=color, damaged=damaged or DEFAULT_DAMAGED
        )

    def entries(self, items: Sequence[Item], settings: Settings) -> Sequence[Item]:
        return items

    def signals(self, settings: Settings, codec: Codec) -> Signals:
        return ImageSignals(settings)

    def facts(self, settings: Settings, count: int) -> dict[str, Any]:
        return {
            "resize": settings.size or "native",
            "color": settings.color,
            "damaged": settings.damaged,
            "images": count,
            "pillow": pillow_version,
            "simplejpeg": simplejpeg.__version__,
        }

    def asked(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"size": facts["resize"], "color": facts["color"], "damaged": facts["damaged"]}


class ImageSignals:
    """See `Signals`."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.bytes_in = settings, 0

    def read(self, item: Item) -> Signal:
        data, fields = item.load()
        self.bytes_in += data.nbytes if isinstance(data, np.ndarray) else len(data)
        settings, remarks = self.settings, list[Remark]()
        image = read_image(
            data, settings.mode, settings.size, color=settings.color, damaged=settings.damaged, remarks=remarks
        )
        return Signal(image, image.shape[1], image.shape[0], fields, tuple(remarks))

    def close(self) -> None:
        pass


def _side(size: int | str | None) -> int | None:
    """Pixels of the square's side; None keeps every image's size."""
    if size == "native":
        return None
    try:
        side = DEFAULT_SIDE if size is None else int(size)
    except ValueError:
        side = 0
    if not 1 <= side <= MAX_SIDE:
        raise ArgumentError(f"size is {size!r}; it is a number of pixels from 1 to {MAX_SIDE}, or 'native'")
    return side
