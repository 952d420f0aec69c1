"""`latentstore evaluate`: what a codec keeps of recordings or images, beside other codecs at equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.evaluate.scores import Judge, Score, judge_of
from latentstore.loaders.artifacts import load_codec
from latentstore.progress import Progress, printable

__all__ = ["Evaluation", "evaluate"]

# a file this much larger or smaller than ours is not of equal bytes
EQUAL = 0.05
SHOWN_NAME = 40


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured; as text it is a table.

    scores: those of one entry follow each other, ours first. failures: (path, reason) of entries that were left out.
    """

    judge: Judge
    scores: list[Score]
    failures: list[tuple[str, str]]

    @property
    def codecs(self) -> list[str]:
        """Their names, ours first."""
        return list(dict.fromkeys(score.codec for score in self.scores))

    def of(self, codec: str) -> list[Score]:
        """The scores of one codec."""
        return [score for score in self.scores if score.codec == codec]

    def mean(self, codec: str, figure: str) -> float:
        """Of a codec's finite figures, NaN without any: SNR is not finite of what is exact, or of silence."""
        place = self.judge.figures.index(figure)
        finite = [score.figures[place] for score in self.of(codec) if np.isfinite(score.figures[place])]
        return float(np.mean(finite)) if finite else float("nan")

    def __str__(self) -> str:
        rows = [[self.judge.noun, "codec", "kB", self.judge.size, *self.judge.figures]]
        entries, ours = self.of(self.codecs[0]), self.scores[0]
        for score in self.scores:
            name = ""
            if score.codec == ours.codec:
                ours, name = score, _short(printable(score.entry))
            rows.append([name, *self._cells([score], ours.bytes, score.figures)])
        if len(entries) > 1:
            total = sum(score.bytes for score in entries)
            for codec in self.codecs:
                found = self.of(codec)
                name = f"mean of {len(found):,}" if codec == ours.codec or len(found) < len(entries) else ""
                means = [self.mean(codec, figure) for figure in self.judge.figures]
                # a codec that refused some is set beside nothing
                asked = total if len(found) == len(entries) else sum(score.bytes for score in found)
                rows.append([name, *self._cells(found, asked, means)])
        lines = _aligned(rows)
        unequal = ["* not of equal bytes: it has no setting that comes nearer."] if any("*" in x for x in lines) else []
        return "\n".join([*lines, "", *self.judge.notes(), *unequal])

    def _cells(self, scores: list[Score], ours: int, figures: Iterable[float]) -> list[str]:
        """A row's cells but for its name. ours: bytes that all of these together are to equal."""
        size, units = sum(score.bytes for score in scores), sum(score.units for score in scores)
        mark = "*" if abs(size - ours) > EQUAL * ours else " "
        shown = [f"{self.judge.size_of(size, units):.2f}", *(f"{value:.2f}" for value in figures)]
        return [scores[0].codec, f"{size / len(scores) / 1e3:.1f}{mark}", *shown]


def evaluate(
    source: str,
    codec: str = "stereo-f256c108",
    *,
    quality: int | None = None,
    channels: int | None = None,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Compresses every entry of a folder, or of tars, and measures what comes back.

    Recordings stand beside Opus, Ogg Vorbis and MP3, images (with a codec of images) beside JPEG and WebP, each at
    the setting whose file is nearest to ours in bytes. source: a path or fsspec URL. codec: a shipped one's name, or an
    artifact's path or URL. quality: None is the codec's default. channels: only the first so many, and the bytes of the
    groups that hold them. progress: as in `convert`. Entries that cannot be read are left out.

    Raises ArgumentError, also where nothing can be read; StoreError; LatentstoreError where a library is missing.
    """
    from latentstore.sources import open_source

    judge = judge_of(load_codec(codec), quality, channels)
    listed = open_source(source, storage_options=dict(storage_options or {}), audio=judge.noun == "recording")
    if listed.kind == "zarr":
        raise ArgumentError(f"{source} is a Zarr array; a folder of files, or tars of them, can be evaluated")
    result = Evaluation(judge, [], [])
    with Progress(progress) as shown:
        shown.begin(f"evaluating {source}", total=len(listed), unit=judge.noun + "s")
        for item in listed:
            try:
                result.scores.extend(judge.scores(item))
            except SignalError as error:
                result.failures.append((item.path, str(error)))
                shown.note(f"left out: {item.path}: {error}")
            shown.advance(1)
    if not result.scores:
        raise ArgumentError(f"{source} holds no {judge.noun} that can be read")
    return result


def _short(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else "..." + name[3 - SHOWN_NAME :]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Two columns of names, then of figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
