"""From the samples of a TIFF to an image of 8 bits."""

from __future__ import annotations

import numpy as np
from PIL import Image

from latentstore.codecs.errors import ImageError
from latentstore.sources.images.pixels import eight_bits, told_of_dark
from latentstore.sources.images.tiff import tags
from latentstore.sources.images.tiff.tags import Page
from latentstore.sources.remarks import Remark

__all__ = ["CMYK", "GRAY", "LAB", "PALETTE", "RGB", "WHITE_IS_ZERO", "YCBCR", "eight_bit_image", "named"]

WHITE_IS_ZERO, GRAY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
NAMES = {
    WHITE_IS_ZERO: "gray (white is zero)", GRAY: "gray", RGB: "RGB", PALETTE: "palette", CMYK: "CMYK",
    YCBCR: "YCbCr", LAB: "Lab", 32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
FORMATS = {1: "integers", 2: "signed integers", 3: "floats", 4: "samples", 5: "complex integers", 6: "complex numbers"}
COLOURS = {WHITE_IS_ZERO: 1, GRAY: 1, RGB: 3, CMYK: 4}
# Kinds of extra samples: alpha that colours are multiplied by, and alpha that they are not.
ASSOCIATED, UNASSOCIATED = 1, 2


def named(page: Page) -> str:
    """What a page is, such as "a TIFF of 64-bit floats, RGB"."""
    bits = sorted(set(page.bits))
    depth = f"{bits[0]}-bit" if len(bits) == 1 else " and ".join(f"{count}-bit" for count in bits)
    kinds = " and ".join(FORMATS.get(kind, f"samples of format {kind}") for kind in sorted(page.formats))
    colours = NAMES.get(page.photometric, f"photometric kind {page.photometric}")
    compression = page.one(tags.COMPRESSION, 1)
    packed = "" if compression == 1 else f", compression {compression}"
    return f"a TIFF of {depth} {kinds}, {colours}{packed}"


def eight_bit_image(values: np.ndarray, page: Page, remarks: list[Remark]) -> Image.Image:
    """Gray, RGB or CMYK, on white. values: (H, W, samples). ImageError if the page's colours are not known."""
    if page.photometric == PALETTE:
        return _looked_up(values, page)
    count = COLOURS.get(page.photometric)
    if count is None or values.shape[2] < count:
        raise ImageError(f"{named(page)}, which is not read: convert it to PNG first")
    colours, alpha, associated = values[..., :count], None, False
    kinds = page.tags.get(tags.EXTRA)
    if kinds is None and page.photometric == RGB and values.shape[2] == 4:
        kinds = (UNASSOCIATED,)  # as other readers do
    for i, kind in enumerate((kinds or ())[: values.shape[2] - count]):
        if kind in (ASSOCIATED, UNASSOCIATED):
            alpha, associated = values[..., count + i], kind == ASSOCIATED
            break
    white, inverted = _white(colours, page, remarks), page.photometric == WHITE_IS_ZERO
    if alpha is None:
        pixels = _to_bytes(colours, white)
        if page.photometric == CMYK:
            return _inks(pixels)
        pixels = 255 - pixels if inverted else pixels
    elif page.photometric == CMYK:
        light = np.asarray(_inks(_to_bytes(colours, white)).convert("RGB"))
        pixels = _over_white(light, _to_bytes(alpha, white), 255, False, False, remarks)
    else:
        pixels = _over_white(colours, alpha, white, associated, inverted, remarks)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _looked_up(values: np.ndarray, page: Page) -> Image.Image:
    colours = np.array(page.tags.get(tags.COLOUR_MAP, ()), np.uint16)
    if values.dtype.kind != "u" or len(colours) != 3 << page.bits[0]:
        raise ImageError(f"{named(page)} and {len(colours)} entries of colours, which is not read: convert it to PNG")
    return Image.fromarray((colours.reshape(3, -1) >> 8).astype(np.uint8).T[values[..., 0]])


def _inks(pixels: np.ndarray) -> Image.Image:
    return Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _white(values: np.ndarray, page: Page, remarks: list[Remark]) -> float:
    """The value that is white, and what is said of it. ImageError where values lie outside."""
    kind, bits = values.dtype.kind, page.bits[0]
    if kind == "u" and bits <= 16:
        if bits == 16:
            remarks += told_of_dark(int(values.max()))
        return float((1 << bits) - 1)
    if kind == "i" and bits == 8:
        if values.min() < 0:
            raise ImageError(f"{named(page)}: values from {values.min()} to {values.max()}; they must not be negative")
        return 255.0
    limits = np.array([values.min(), values.max()])
    if kind in "iu" and (limits[0] < 0 or limits[1] > 65535):
        raise ImageError(f"{named(page)}: integer values from {limits[0]} to {limits[1]}; they must lie in 0..65535")
    try:
        eight_bits(limits.astype(np.float64) if kind == "f" else limits.astype(np.int32), remarks)
    except ImageError as error:
        raise ImageError(f"{named(page)}: {error}") from error
    return 65535.0 if kind in "iu" else 1.0 if limits[1] <= 1 else 255.0


def _to_bytes(values: np.ndarray, white: float) -> np.ndarray:
    if white == 255:
        return values.astype(np.uint8) if values.dtype.kind in "iu" else np.rint(values).astype(np.uint8)
    if values.dtype.kind in "iu":
        half, most = int(white) // 2, int(white)
        return ((values.astype(np.uint32) * 255 + half) // most).astype(np.uint8)
    return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)


def _over_white(
    colours: np.ndarray, alpha: np.ndarray, white: float, associated: bool, inverted: bool, remarks: list[Remark]
) -> np.ndarray:
    """Bytes of colours on white."""
    if not alpha.any():
        remarks.append(Remark("transparent"))
    # Alpha of floats is 0 to 1, or as the colours are.
    solid = (alpha / (1.0 if alpha.dtype.kind == "f" and alpha.max() <= 1 else white))[..., None]
    light = colours / white
    if inverted:
        light = (solid if associated else 1.0) - light
    if not associated:
        light = light * solid
    return np.rint(255 * np.clip(light + 1 - solid, 0, 1)).astype(np.uint8)
