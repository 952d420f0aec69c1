"""Draws audio before and after compression: waveforms over spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Cell", "draw_audio_sheet"]

WIDTH, WAVE, SPECTRUM = 520, 90, 260
LEFT, GAP, HEAD, TITLE, AXIS = 58, 30, 54, 30, 40
WINDOW = 1024
# What the colours span, in dB of a sine of full scale.
LOW, HIGH = -100.0, -10.0
TICK_KHZ = 5
# From black over violet and orange to pale yellow, evenly lighter.
COLOURS = (
    (0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99),
    (212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164),
)  # fmt: skip
INK, GRAY, LINE, BLUE = (0, 0, 0), (90, 90, 90), (190, 190, 190), (31, 86, 160)


@dataclass(frozen=True)
class Cell:
    """One signal of the sheet: the line above it, and its samples float32 (n,)."""

    caption: str
    audio: np.ndarray


def draw_audio_sheet(title: str, rows: Sequence[Sequence[Cell]], rate: int) -> Image:
    """Draws every cell of every row. rate: in hertz, of all cells.

    The cells of a row have one length, and their waveforms share one scale.
    """
    from PIL import Image, ImageDraw, ImageFont

    cell_width, cell_height = LEFT + WIDTH + GAP, TITLE + WAVE + SPECTRUM + AXIS
    sheet = Image.new("RGB", (max(map(len, rows)) * cell_width, HEAD + len(rows) * cell_height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    draw.text((LEFT, 14), title, fill=INK, font=ImageFont.load_default(size=20))
    for down, row in enumerate(rows):
        most = max(float(np.abs(cell.audio).max(initial=1e-9)) for cell in row)
        for across, cell in enumerate(row):
            left, top = across * cell_width + LEFT, HEAD + down * cell_height
            draw.text((left, top), cell.caption, fill=INK, font=ImageFont.load_default(size=16))
            _waveform(draw, left, top + TITLE, cell.audio / most)
            spectrum = Image.fromarray(_spectrogram(cell.audio))
            sheet.paste(spectrum, (left, top + TITLE + WAVE))
            _axes(draw, left, top + TITLE + WAVE, len(cell.audio) / rate, rate / 2000, ImageFont.load_default(size=14))
    return sheet


def _waveform(draw: ImageDraw, left: int, top: int, audio: np.ndarray) -> None:
    """Draws a line from the least to the greatest value, for each column of pixels."""
    middle, reach = top + WAVE // 2, WAVE / 2 - 4
    draw.line((left, middle, left + WIDTH - 1, middle), fill=LINE)
    edges = np.linspace(0, len(audio), WIDTH + 1).astype(int)
    for x in range(WIDTH):
        some = audio[edges[x] : max(edges[x + 1], edges[x] + 1)]
        draw.line((left + x, middle - reach * some.max(), left + x, middle - reach * some.min()), fill=BLUE)


def _spectrogram(audio: np.ndarray) -> Any:
    """uint8 (SPECTRUM, WIDTH, 3), low frequencies below."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    padded = np.pad(audio, (WINDOW // 2, WINDOW))
    starts = np.linspace(0, len(audio) - 1, WIDTH).astype(int)
    frames = padded[starts[:, None] + np.arange(WINDOW)] * hann
    power = np.square(np.abs(np.fft.rfft(frames)[:, 1:]) * (2 / hann.sum()))
    # rows of pixels take the loudest of their bins: thin lines stay visible
    edges = np.linspace(0, power.shape[1], SPECTRUM + 1).astype(int)[:-1]
    decibel = 10 * np.log10(np.maximum.reduceat(power, edges, axis=1).T[::-1] + 1e-12)
    place = np.clip((decibel - LOW) / (HIGH - LOW), 0, 1) * (len(COLOURS) - 1)
    colours = [np.interp(place, np.arange(len(COLOURS)), channel) for channel in zip(*COLOURS, strict=True)]
    return np.stack(colours, -1).astype(np.uint8)


def _axes(draw: ImageDraw, left: int, top: int, seconds: float, khz: float, font: Any) -> None:
    bottom = top + SPECTRUM
    for k in range(0, int(khz) + 1, TICK_KHZ):
        y = bottom - 1 - round(k / khz * (SPECTRUM - 1))
        draw.line((left - 5, y, left - 1, y), fill=GRAY)
        draw.text((left - 9, y), f"{k} kHz" if k else "0", fill=GRAY, font=font, anchor="rm")
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10) if seconds / s <= 8), seconds)
    for number in range(int(seconds / step + 1e-6) + 1):
        x = left + min(round(number * step / seconds * WIDTH), WIDTH - 1)
        draw.line((x, bottom, x, bottom + 4), fill=GRAY)
        unit = " s" if (number + 1) * step > seconds + 1e-6 else ""
        draw.text((x, bottom + 8), f"{number * step:g}{unit}", fill=GRAY, font=font, anchor="mt")
