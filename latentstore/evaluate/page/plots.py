"""Rate-distortion plots as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["KINDS", "Line", "mark", "plot"]

WIDTH, HEIGHT = 520, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44
KINDS = 6
"""Colours, and shapes of marks, that differ."""
RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
STEPS = (0.5, 1, 2, 5, 10)
MOST_TICKS = 9


@dataclass(frozen=True)
class Line:
    """One codec. points: bits a pixel, the figure, and what a reader sees who points at it."""

    name: str
    points: Sequence[tuple[float, float, str]]


def plot(lines: Sequence[Line], label: str) -> str:
    """A plot of the figure `label` over the logarithm of bits a pixel. There must be a point."""
    rates = [math.log(rate) for line in lines for rate, _, _ in line.points]
    values = [value for line in lines for _, value, _ in line.points]
    low, high = min(rates) - 0.08, max(rates) + 0.08
    step = next((s for s in STEPS if (max(values) - min(values)) / s < MOST_TICKS), STEPS[-1])
    bottom, top = math.floor(min(values) / step) * step, math.ceil(max(values) / step + 1e-9) * step

    def x(rate: float) -> float:
        return LEFT + (math.log(rate) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)} over bits a pixel">']
    for rate in RATES:
        if low <= math.log(rate) <= high:
            parts.append(_grid(x(rate), TOP, x(rate), HEIGHT - BOTTOM))
            parts.append(_text(x(rate), HEIGHT - BOTTOM + 16, f"{rate:g}", "middle"))
    for i in range(round((top - bottom) / step) + 1):
        value = bottom + i * step
        parts.append(_grid(LEFT, y(value), WIDTH - RIGHT, y(value)))
        parts.append(_text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "bits a pixel", "middle"))
    parts.append(f'<g transform="translate(13 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)">')
    parts.append(_text(0, 0, label, "middle") + "</g>")
    for kind, line in enumerate(lines):
        places = [(x(rate), y(value)) for rate, value, _ in line.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline class="curve k{kind % KINDS}" points="{path}"/>')
        for (a, b), (_, _, said) in zip(places, line.points, strict=True):
            shape = mark(kind, a, b)
            parts.append(f"<g><title>{escape(line.name)}, {escape(said)}</title>{shape}</g>")
    return "".join([*parts, "</svg>"])


def mark(kind: int, x: float, y: float) -> str:
    """The mark of a codec: shapes differ as well as colours, for who cannot tell these apart, and for print."""
    shapes = ((), (4, 45), (4, 0), (3, -90), (3, 90), (6, 0))
    sides, turn = shapes[kind % KINDS] or (0, 0)
    if not sides:
        return f'<circle class="k{kind % KINDS}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    corners = (
        (x + 5 * math.cos(math.radians(turn + 360 * i / sides)), y + 5 * math.sin(math.radians(turn + 360 * i / sides)))
        for i in range(sides)
    )
    return f'<polygon class="k{kind % KINDS}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"/>'


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
