"""Draws what a store keeps: originals, reconstructions from more and more channels, latent channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs.neural.decoder import LINEAR
from latentstore.evaluate.images.metrics import psnr

if TYPE_CHECKING:
    from PIL.Image import Image

    from latentstore.loaders.dataset import LatentDataset

__all__ = ["draw_sheet"]

GAP = 8
HEAD = 40
LINE = 22
SHOWN_CHANNELS = (0, 1, 2, 5)


def draw_sheet(dataset: LatentDataset, indices: np.ndarray, originals: np.ndarray) -> Image:
    """Draws one row for each sample of `indices`. originals: their images, uint8 (n, H, W, 3).

    The PSNR stands under each reconstruction. Latent channels are enlarged without smoothing; gray is zero.
    """
    from PIL import Image, ImageDraw, ImageFont

    codec, quality = dataset.codec, dataset.quality
    latents = np.asarray(dataset.read_latents(indices))
    height, width = originals.shape[1:3]
    steps = sorted({codec.group_channels, codec.group_channels * max(1, codec.groups // 2), codec.channels})
    decoded = {k: codec.decode(latents[:, :k], quality=quality, size=(height, width), decoder=LINEAR) for k in steps}
    heads = ["original", *(f"{k} of {codec.channels} channels" for k in steps)]
    heads += [f"latent channel {k}" for k in SHOWN_CHANNELS]
    sheet = Image.new(
        "RGB",
        (GAP + len(heads) * (width + GAP), HEAD + len(indices) * (height + LINE + GAP)),
        (255, 255, 255),
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for column, head in enumerate(heads):
        draw.text((GAP + column * (width + GAP), 12), head, fill=(0, 0, 0), font=font)
    for row, key in enumerate(dataset.keys(indices)):
        top = HEAD + row * (height + LINE + GAP)
        cells: list[tuple[np.ndarray, str]] = [(originals[row], key.rsplit("/", 1)[-1])]
        cells += [(d[row], f"{psnr(originals[row : row + 1], d[row : row + 1]):.1f} dB") for d in decoded.values()]
        cells += [(_channel_image(latents[row, k], height, width), "") for k in SHOWN_CHANNELS]
        for column, (image, caption) in enumerate(cells):
            left = GAP + column * (width + GAP)
            sheet.paste(Image.fromarray(image), (left, top))
            draw.text((left, top + height + 2), caption, fill=(90, 90, 90), font=font)
    return sheet


def _channel_image(plane: np.ndarray, height: int, width: int) -> Any:
    """A latent channel, int8 (h, w), as uint8 (height, width): zero is mid-gray, nearest neighbours."""
    reach = max(1.0, float(np.percentile(np.abs(plane.astype(np.int16)), 99)))
    gray = np.clip(128 + 127 * plane.astype(np.float32) / reach, 0, 255).astype(np.uint8)
    rows, columns = np.arange(height) * plane.shape[0] // height, np.arange(width) * plane.shape[1] // width
    return gray[rows][:, columns]
