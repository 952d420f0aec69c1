"""The curves of a training as a PNG image: the gain on the training crops and on the watched images over time."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

__all__ = ["curves_png"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 500, 70, 20, 30, 50
COLOURS = ("#888888", "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b")
TICKS = 5


def curves_png(log: Sequence[dict[str, Any]], title: str) -> bytes:
    """A PNG file. log: lines of the training's log, with minutes and train_gain, or minutes and gain by channels."""
    lines: dict[str, list[tuple[float, float]]] = {"training crops": []}
    for line in log:
        if "train_gain" in line:
            lines["training crops"].append((line["minutes"], line["train_gain"]))
        for channels, gain in line.get("gain", {}).items():
            lines.setdefault(f"watched, {channels} channels", []).append((line["minutes"], gain))
    points = [point for line in lines.values() for point in line] or [(0.0, 0.0)]
    last = max(x for x, _ in points) or 1.0
    low, high = min(0.0, *(y for _, y in points)), max(0.1, *(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / last * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for tick in range(TICKS + 1):
        x, y = last * tick / TICKS, low + (high - low) * tick / TICKS
        draw.line([place(0, y), place(last, y)], "#dddddd")
        draw.text((8, place(0, y)[1] - 6), f"{y:+.2f} dB", "black")
        draw.text((place(x, low)[0] - 10, HEIGHT - BOTTOM + 8), f"{x:.3g}", "black")
    draw.text((WIDTH // 2 - 60, HEIGHT - 20), "minutes of training", "black")
    draw.text((LEFT, 8), title, "black")
    for i, (name, curve) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        if len(curve) > 1:
            draw.line([place(x, y) for x, y in curve], colour, 2)
        for px, py in (place(x, y) for x, y in curve if i):
            draw.ellipse((px - 3, py - 3, px + 3, py + 3), colour)
        draw.text((WIDTH - 200, HEIGHT - BOTTOM - 16 * (len(lines) - i) - 4), name, colour)
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
