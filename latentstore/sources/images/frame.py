"""An image between its decoder and its last steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from latentstore.sources.remarks import Remark

__all__ = ["Frame"]


@dataclass
class Frame:
    """A decoded image.

    image: as Pillow's image in any mode, or as uint8 (H, W, 3) or (H, W, 1). turn: its EXIF orientation, 1 to 8.
    profile: the ICC profile of its colours; None for sRGB, or where nothing says. remarks: what is worth knowing.
    """

    image: Image.Image | np.ndarray
    turn: int = 1
    profile: bytes | None = None
    remarks: list[Remark] = field(default_factory=list)
