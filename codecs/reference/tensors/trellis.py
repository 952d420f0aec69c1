"""The trellis of fine channels (docs/format.md section 12.7), state by state."""

from __future__ import annotations

__all__ = ["SEQUENCE", "choose", "follow", "residual_of"]

SEQUENCE = 512  # values of a phase after which the trellis begins anew
STATES, IMPOSSIBLE = 8, 65535


def follow(state: int, y: int) -> int:
    """The state after a value of set B if `state` is odd, and of set A if not."""
    return state >> 1 ^ (5 if state % 2 else 0) ^ (2 if y else 0)


def residual_of(j: int, b: int) -> int:
    return -(4 * j + 1) if b else 4 * j + 1


def _kind(b: int, y: int) -> int:
    """What the residuals of a set that lead on alike are modulo 8."""
    return residual_of(y, b) % 8


def _apart(nearest: int, part: int, kind: int) -> int:
    """How far the value lies above the nearest residual of a kind, in 1/8192: -32768 to 32767."""
    return ((nearest - kind) * 8192 + part + 32768) % 65536 - 32768


def choose(nearest: list[int], parts: list[int], spike: int | None) -> list[tuple[int, int]]:
    """Residuals, and what stands for them, whose squared errors have the smallest sum.

    nearest: the nearest integers, or `spike`, which is kept and counts as y = 0. parts: what is left, in 1/8192.
    """
    costs = [0] + [IMPOSSIBLE] * (STATES - 1)
    came_from = []
    for i, (residual, part) in enumerate(zip(nearest, parts, strict=True)):
        arrivals: list[list[tuple[int, int]]] = [[] for _ in range(STATES)]
        for state in range(STATES):
            for y in (0, 1):
                error = _apart(residual, part, _kind(state % 2, y)) ** 2 >> 16
                if residual == spike:
                    error = IMPOSSIBLE if y else 0
                arrivals[follow(state, y)].append((min(IMPOSSIBLE, costs[state] + error), state))
        best = [min(pair) for pair in arrivals]
        costs = [cost for cost, _ in best]
        came_from.append([state for _, state in best])
        if i % 8 == 7:
            least = min(costs)
            costs = [cost if cost == IMPOSSIBLE else cost - least for cost in costs]
    state = costs.index(min(costs))
    found = []
    for residual, part, before in zip(reversed(nearest), reversed(parts), reversed(came_from), strict=True):
        b = before[state] % 2
        y = int(follow(before[state], 1) == state)
        if residual == spike:
            found.append((residual, residual))
        else:
            e = residual + (part - _apart(residual, part, _kind(b, y)) >> 13)
            e = (e + (1 << 31)) % (1 << 32) - (1 << 31)
            found.append((e, ((-e if b else e) - 1) // 4))
        state = before[state]
    return found[::-1]
