"""Measures what a codec keeps of recordings or images, beside other codecs at equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.modality import Modality
from latentstore.codecs.neural.decoder import LINEAR, Decoder
from latentstore.evaluate.audio_scores import AudioScorer
from latentstore.evaluate.image_scores import ImageScorer
from latentstore.evaluate.scores import Score, Scorer, Setting
from latentstore.loaders.artifacts import load_codec
from latentstore.progress import Progress, printable
from latentstore.sources import open_source

__all__ = ["Evaluation", "evaluate"]

# A file that differs from ours by more than this share does not have equal bytes.
EQUAL = 0.05
SHOWN_NAME = 40

_SCORERS: Mapping[str, type[Scorer]] = {"image": ImageScorer, "audio": AudioScorer}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured; as text it is a table.

    scores: those of one entry follow each other, ours first. failures: (path, reason) of entries that cannot be read.
    """

    modality: Modality
    scorer: Scorer
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
        """The mean of a codec's finite figures, NaN without any: SNR of an exact copy, or of silence, is not finite."""
        place = self.scorer.figures.index(figure)
        finite = [score.figures[place] for score in self.of(codec) if np.isfinite(score.figures[place])]
        return float(np.mean(finite)) if finite else float("nan")

    def __str__(self) -> str:
        rows = [[self.modality.nouns.one, "codec", "kB", self.scorer.size_name, *self.scorer.figures]]
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
                means = [self.mean(codec, figure) for figure in self.scorer.figures]
                # a codec that refused some entries is compared on the others
                asked = total if len(found) == len(entries) else sum(score.bytes for score in found)
                rows.append([name, *self._cells(found, asked, means)])
        lines = _aligned(rows)
        unequal = (
            ["* not of equal bytes: the codec has no setting that comes nearer."]
            if any("*" in x for x in lines)
            else []
        )
        return "\n".join([*lines, "", *self.scorer.notes(), *unequal])

    def _cells(self, scores: list[Score], ours: int, figures: Iterable[float]) -> list[str]:
        """The cells of a row after its name. ours: bytes that all of these together should equal."""
        size, units = sum(score.bytes for score in scores), sum(score.units for score in scores)
        mark = "*" if abs(size - ours) > EQUAL * ours else " "
        shown = [f"{self.scorer.size(size, units):.2f}", *(f"{value:.2f}" for value in figures)]
        return [scores[0].codec, f"{size / len(scores) / 1e3:.1f}{mark}", *shown]


def evaluate(
    source: str,
    codec: str = "stereo-f256c108",
    *,
    quality: int | None = None,
    channels: int | None = None,
    decoder: str | Decoder = LINEAR,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Compresses every entry of a folder, or of tars, and measures what comes back. Nothing is written.

    A codec of audio is compared with Opus, Ogg Vorbis and MP3, a codec of images with JPEG and WebP, each at the
    setting whose file is nearest to ours in bytes. source: a path or fsspec URL. codec: the name of a shipped codec, or
    the path or URL of an artifact. quality: 1 to 100; None is the codec's default. channels: decode the first so many
    only, and count the bytes of their groups. decoder: of images, "linear", the name of a trained one such as "small",
    or what `load_decoder` gives. progress: as in `convert`. Entries that cannot be read are skipped and listed.

    ArgumentError, also where nothing can be read; StoreError; LatentstoreError where a library is missing.
    """
    chosen = load_codec(codec)
    modality, setting = chosen.modality, Setting(chosen, quality, channels, decoder)
    listed = open_source(source, storage_options=dict(storage_options or {}), modality=modality)
    if listed.kind == "zarr":
        raise ArgumentError(f"{source} is a Zarr array; only folders of files, or tars of them, can be evaluated")
    scorer = _SCORERS[modality.name](setting)
    result = Evaluation(modality, scorer, [], [])
    with Progress(progress) as shown:
        shown.begin(f"evaluating {source}", total=len(listed), unit=modality.nouns.many)
        for item in listed:
            try:
                result.scores.extend(scorer.scores(item))
            except SignalError as error:
                result.failures.append((item.path, str(error)))
                shown.note(f"left out: {item.path}: {error}")
            shown.advance(1)
    if not result.scores:
        raise ArgumentError(f"{source} holds no {modality.nouns.one} that can be read")
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
