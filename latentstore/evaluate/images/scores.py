"""Scores images: by our codec, then by other codecs at the nearest number of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from latentstore.evaluate.images.crops import Crop, crop
from latentstore.evaluate.images.curves import Curve, CurveMeter
from latentstore.evaluate.images.metrics import psnr, similarity
from latentstore.evaluate.images.peers import image_peers
from latentstore.evaluate.scores import Score, Scorer, Setting
from latentstore.sources.images import read_image

if TYPE_CHECKING:
    from latentstore.codecs.image.codec import ImageCodec
    from latentstore.sources import Item

__all__ = ["ImageScorer"]

MOST_CROPS = 4


class ImageScorer(Scorer):
    """See `Scorer`. It measures curves, and cuts crops of the first images, if it is asked for them."""

    size_name = "bits/pixel"
    figures: ClassVar[tuple[str, ...]] = ("PSNR", "SSIM", "MS-SSIM")
    digits: ClassVar[tuple[int, ...]] = (2, 4, 4)

    def __init__(self, setting: Setting, curves: bool = False) -> None:
        super().__init__(setting)
        self.peers, self.missing = image_peers()
        self._meter = CurveMeter(setting, self.peers) if curves else None
        self.crops: list[Crop] = []
        self.steps = 1 + (self._meter.steps if self._meter else 0)

    @property
    def curves(self) -> list[Curve]:
        return self._meter.curves() if self._meter else []

    def scores(self, item: Item, advance: Callable[[int], None]) -> list[Score]:
        codec = cast("ImageCodec", self.setting.codec)
        image = read_image(item.read(), codec.mode)
        height, width = image.shape[:2]
        groups = self.setting.groups(image)
        blob = codec.join_groups(groups, height, width)
        size = self.setting.fetched(blob, groups)
        found = {self.setting.name: (size, codec.decompress(blob, self.setting.channels, self.setting.decoder))}
        for name, peer in self.peers.items():
            nearest = peer.nearest(image, size)
            if nearest is not None:
                found[name] = nearest
        scores = [
            Score(
                item.path, name, size, height * width, (psnr(image[None], decoded[None]), *similarity(image, decoded))
            )
            for name, (size, decoded) in found.items()
        ]
        advance(1)
        if self._meter:
            self._meter.add(image, advance)
            if len(self.crops) < MOST_CROPS:
                self.crops.append(crop(image, {name: decoded for name, (_, decoded) in found.items()}, scores))
        return scores

    def size(self, total_bytes: int, units: int) -> float:
        return 8 * total_bytes / units

    def notes(self) -> list[str]:
        settings = "; ".join(f"{name}: {peer.said}" for name, peer in self.peers.items())
        missing = [f"{name} is missing: {why}." for name, why in self.missing.items()]
        what = "PSNR in dB, over all values; SSIM and MS-SSIM are means over the colours."
        return [what, f"{settings}.", *missing, *self.setting.notes()]
