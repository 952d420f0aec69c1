"""Scores images: by our codec, then by JPEG and WebP at the nearest number of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from latentstore.evaluate.image_peers import IMAGE_PEERS, psnr
from latentstore.evaluate.scores import Score, Scorer
from latentstore.sources.images import read_image

if TYPE_CHECKING:
    from latentstore.codecs.image.codec import ImageCodec
    from latentstore.sources import Item

__all__ = ["ImageScorer"]


class ImageScorer(Scorer):
    """See `Scorer`."""

    size_name = "bits/pixel"
    figures: ClassVar[tuple[str, ...]] = ("PSNR",)

    def scores(self, item: Item) -> list[Score]:
        codec = cast("ImageCodec", self.setting.codec)
        image = read_image(item.read(), codec.mode)
        height, width = image.shape[:2]
        groups = self.setting.groups(image)
        blob = codec.join_groups(groups, height, width)
        size = self.setting.fetched(blob, groups)
        found = {self.setting.name: (size, codec.decompress(blob, self.setting.channels, self.setting.decoder))}
        for name, peer in IMAGE_PEERS.items():
            nearest = peer.nearest(image, size)
            if nearest is not None:
                found[name] = nearest
        return [
            Score(item.path, name, size, height * width, (psnr(image[None], decoded[None]),))
            for name, (size, decoded) in found.items()
        ]

    def size(self, total_bytes: int, units: int) -> float:
        return 8 * total_bytes / units

    def notes(self) -> list[str]:
        return ["PSNR in dB, over all values. JPEG: 4:2:0, optimised. WebP: method 6.", *self.setting.notes()]
