"""Which blob of a batch is the bad one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from latentstore.codecs.errors import LatentstoreError

if TYPE_CHECKING:
    from latentstore.codecs import Codec


def bad_blob(
    codec: Codec, buffers: Sequence[Any], source: np.ndarray, start: np.ndarray, length: np.ndarray,
    out: np.ndarray, error: LatentstoreError,
) -> int:  # fmt: skip
    """The position of the blob for which ``codec.read_groups`` of these raised `error`.

    Most errors carry it. The others (another artifact, another version) are found again, one blob at a time.
    """
    index = getattr(error, "index", None)
    if index is not None:
        return int(index)
    for i in range(len(source)):
        one = slice(i, i + 1)
        try:
            codec.read_groups(buffers, source[one], start[one], length[one], out[one])
        except LatentstoreError:
            return i
    return 0
