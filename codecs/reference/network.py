"""One layer of a refinement network, by NumPy: what the kernel's network/layer.h does, in the same operations.

Sums of products of integers are made in float64, which holds them exactly, so their order does not matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["CODE", "network_layer"]

CODE = 8191
"""The largest magnitude of a code."""
# Half the error function of x / sqrt(2) on +-4.25, as x times a polynomial in its square; the highest power first.
HALF_ERF = (
    4.5472431375870315e-11,
    -4.5154373573552675e-09,
    1.9862019939864695e-07,
    -5.147587216924876e-06,
    8.848984725773335e-05,
    -0.001079081790521741,
    0.009718789719045162,
    -0.06619029492139816,
    0.398819237947464,
)
LIMIT = np.float32(4.25)

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int16]
Integers = npt.NDArray[np.int32]


def network_layer(
    options: Integers,
    unit: Floats,
    codes_in: Codes,
    offsets: Integers,
    weight: Codes,
    scale: Floats,
    bias: Floats,
    stream: Floats,
    codes_out: Codes,
) -> None:
    """See codecs/kernel/network/layer.h; options are the first row, the number of rows, added, and bent."""
    first, count, added, bent = options.tolist()
    outputs = codes_out.shape[1]
    windows = np.concatenate([codes_in[first + o : first + o + count] for o in offsets.tolist()], 1)
    flat = weight.transpose(1, 2, 4, 0, 3).reshape(windows.shape[1], -1)[:, :outputs]
    sums = (windows.astype(np.float64) @ flat.astype(np.float64)).astype(np.float32)
    result = sums * scale[:outputs] + bias[:outputs]
    here = slice(first, first + count)
    if len(stream):
        if added:
            result = stream[here] + result
        stream[here] = result
    if len(codes_out):
        if bent:
            result = result * (np.float32(0.5) + _half_erf(result))
        limited = np.clip(result * unit[0], np.float32(-CODE), np.float32(CODE))
        codes_out[here] = np.rint(limited)


def _half_erf(x: Floats) -> Floats:
    z = np.clip(x, -LIMIT, LIMIT)
    square = z * z
    total = np.full_like(z, HALF_ERF[0])
    for coefficient in HALF_ERF[1:]:
        total = total * square + np.float32(coefficient)
    return z * total
