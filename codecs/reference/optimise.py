"""What the encoder may choose: rate-distortion-optimised quantisation.

Nothing of this is part of the format; it gives what the kernel gives, so that an image becomes the same
bytes everywhere: float32 operations in the same order, and costs that are integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentstore.codecs.reference.contexts import (
    ESCAPE,
    RADIUS,
    Channel,
    Ints,
    bucket_of,
    context_of,
    cross_contexts,
    cross_predictions,
    magnitudes,
    neighbours,
    prediction_of,
    rounded,
)
from latentstore.codecs.reference.model import Coder, Int8s, require_group, require_model

Floats = npt.NDArray[np.float32]


def coder_optimise(
    coder: Coder,
    model: int,
    coefficients: Floats,
    weight: Floats,
    trade: float,
    delta: Floats,
    out: Int8s,
) -> float:
    """Quantises coefficients float32 (channels, height, width), in units of steps, into `out`; returns bits.

    weight: float32 (channels,), squared error of a unit; trade: error that a bit is worth; delta: float32
    (channels, 2), how far 1 and larger values are rebuilt towards zero.
    """
    if coder.adaptive:
        raise ValueError("what an adaptive coder is to code, coder_optimise_many makes")
    require_model(coder, model)
    require_group(coder, coefficients, "coefficients", np.float32)
    require_group(coder, out, "out", np.int8)
    values: list[Ints] = []
    earlier: list[Ints] = []
    bits = 0
    for k, channel in enumerate(coder.models[model]):
        candidates = Candidates(coefficients[k], weight[k], delta[k])
        value, residual, cost = _choose_plane(
            coder, channel, candidates, np.float32(trade) / np.float32(256), values, earlier
        )
        values.append(value)
        earlier.append(magnitudes(residual))
        out[k] = value
        bits += cost
    return bits / 256


class Candidates:
    """For every coefficient the nearest integer and the two next towards zero, with weighted squared errors.

    value, possible, error: (3, height, width).
    """

    def __init__(self, coefficients: Floats, weight: np.float32, delta: Floats) -> None:
        size = np.abs(coefficients)
        above = (size + np.float32(0.5)) + np.where(size < np.float32(1.5), delta[0], delta[1])
        top = np.where((above >= 0) & (above < 128), above, 127).astype(np.int32)
        number = top - np.arange(3, dtype=np.int32)[:, None, None]
        rebuilt = number.astype(np.float32) - np.where(number == 1, delta[0], delta[1])
        error = size - np.where(number == 0, np.float32(0), rebuilt)
        self.value = np.where(coefficients < 0, -number, number)
        self.possible = number >= 0
        self.error = (weight * error) * error


def _choose_plane(
    coder: Coder,
    channel: Channel,
    candidates: Candidates,
    trade: np.float32,
    values: list[Ints],
    earlier: list[Ints],
) -> tuple[Ints, Ints, int]:
    """Values, residuals and cost in 1/256 bit of the next plane, chosen in the order of rows."""
    height, width = candidates.value.shape[1:]
    cross = cross_contexts(channel, (height, width), earlier).tolist()
    signed_cross = cross_predictions(channel, (height, width), values).tolist()
    value, residual, size = ([[0] * width for _ in range(height)] for _ in range(3))
    numbers, possible, error = candidates.value.tolist(), candidates.possible.tolist(), candidates.error
    rates = trade * coder.cost.astype(np.float32)
    total = 0
    for y in range(height):
        for x in range(width):
            whole, level, sign = 0, 0, 1
            if channel.predicted:
                whole, level, sign = rounded(prediction_of(channel, signed_cross[y][x], neighbours(value, y, x)))
            table = channel.table[level][bucket_of(context_of(channel, cross[y][x], neighbours(size, y, x)))]
            best, best_cost, least = 0, 0, np.float32(np.inf)
            for i in range(3):
                if not possible[i][y][x]:
                    break
                coded = sign * (numbers[i][y][x] - whole)
                symbol = coded + RADIUS if abs(coded) <= RADIUS else ESCAPE
                loss = error[i, y, x] + rates[table, symbol]
                if loss < least:
                    best, best_cost, least = numbers[i][y][x], int(coder.cost[table, symbol]), loss
            value[y][x], residual[y][x] = best, best - whole
            size[y][x] = min(abs(best - whole), 15)
            total += best_cost
    return np.array(value, np.int32), np.array(residual, np.int32), total
