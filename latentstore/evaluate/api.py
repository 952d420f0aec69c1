"""Measures what a codec keeps of recordings or images, beside other codecs at equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.modality import Modality
from latentstore.codecs.neural.decoder import Decoder
from latentstore.evaluate.audio.scores import AudioScorer
from latentstore.evaluate.images.crops import Crop
from latentstore.evaluate.images.curves import REFERENCE, Curve
from latentstore.evaluate.images.scores import ImageScorer
from latentstore.evaluate.scores import Score, Scorer, Setting
from latentstore.loaders.artifacts import load_codec
from latentstore.progress import Progress, counted, printable
from latentstore.sources import open_source
from latentstore.sources.labels import Labels
from latentstore.sources.signals.choice import choose_codec
from latentstore.sources.signals.contents import reason_of

__all__ = ["Evaluation", "evaluate"]

# A file that differs from ours by more than this share does not have equal bytes.
EQUAL = 0.05
SHOWN_NAME = 40

_SCORERS: Mapping[str, type[Scorer]] = {"image": ImageScorer, "audio": AudioScorer}
# Those that can measure curves too.
_CURVES: Mapping[str, Callable[[Setting], Scorer]] = {"image": partial(ImageScorer, curves=True)}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured; as text it is a table.

    scores: those of one entry follow each other, ours first. failures: (path, reason) of entries that cannot be read.
    chosen: why this codec, where `evaluate` chose it. passed_over: how many entries are no part of the data set, by
    what they are. curves, crops: of images, if they were asked for. missing: codecs that are not installed, and why.
    """

    modality: Modality
    scorer: Scorer
    scores: list[Score]
    failures: list[tuple[str, str]]
    chosen: str = ""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    crops: list[Crop] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def codecs(self) -> list[str]:
        """Their names, ours first."""
        return list(dict.fromkeys(score.codec for score in self.scores))

    def of(self, codec: str) -> list[Score]:
        """The scores of one codec."""
        return [score for score in self.scores if score.codec == codec]

    def mean(self, codec: str, figure: str) -> float:
        """The mean of a codec's finite figures, NaN without any: SNR of an exact copy, or of silence, is not finite."""
        finite = self._finite(codec, figure)
        return float(np.mean(finite)) if finite else float("nan")

    def _finite(self, codec: str, figure: str) -> list[float]:
        place = self.scorer.figures.index(figure)
        return [score.figures[place] for score in self.of(codec) if np.isfinite(score.figures[place])]

    def _covered(self) -> list[str]:
        """A line for each codec with entries that its means do not cover, or that it made silence of."""
        lines = []
        for codec in self.codecs:
            found, nouns = self.of(codec), self.modality.nouns
            counts = {figure: len(self._finite(codec, figure)) for figure in self.scorer.figures}
            short = [f"{figure} of {count:,}" for figure, count in counts.items() if count < len(found)]
            if short and len(found) > 1:
                of_all = f"of {counted(len(found), nouns.one)}"
                lines.append(f"{codec}: means leave out what is not finite: {', '.join(short)} {of_all}.")
            if silenced := sum(score.silenced for score in found):
                lines.append(f"{codec}: {counted(silenced, nouns.one)} became silence.")
        return lines

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
        passed = [f"passed over: {count:,} {kind}" for kind, count in sorted(self.passed_over.items())]
        chosen = [self.chosen] if self.chosen else []
        curves = ["", *_aligned(_curve_rows(self.curves))] if self.curves else []
        return "\n".join([*lines, *curves, "", *chosen, *self._covered(), *self.scorer.notes(), *unequal, *passed])

    def _cells(self, scores: list[Score], ours: int, figures: Iterable[float]) -> list[str]:
        """The cells of a row after its name. ours: bytes that all of these together should equal."""
        size, units = sum(score.bytes for score in scores), sum(score.units for score in scores)
        mark = "*" if abs(size - ours) > EQUAL * ours else " "
        digits = zip(figures, self.scorer.digits, strict=True)
        shown = [f"{self.scorer.size(size, units):.2f}", *("none" if np.isnan(x) else f"{x:.{n}f}" for x, n in digits)]
        return [scores[0].codec, f"{size / len(scores) / 1e3:.1f}{mark}", *shown]


def evaluate(
    source: str,
    codec: str | None = None,
    *,
    quality: int | None = None,
    channels: int | None = None,
    decoder: str | Decoder | None = None,
    curves: bool = False,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Compresses every entry of a folder, or of tars, and measures what comes back. Nothing is written.

    A codec of audio is compared with Opus, Ogg Vorbis and MP3; a codec of images with JPEG, WebP, JPEG 2000, JPEG XL
    and AVIF, as far as they are installed. Each is taken at the setting whose file is nearest to ours in bytes.

    source: a path or fsspec URL. codec: the name of a shipped codec, or the path or URL of an artifact; None chooses a
    shipped one by what the source holds. quality: 1 to 100; None is the codec's default. channels: decode the first so
    many only, and count the bytes of their groups. decoder: "best", "linear", the name of a trained one such as
    "small", or what `load_decoder` gives; None is "best" for images, "linear" for audio. curves: of
    images, measure every codec at several settings too, and keep
    crops. progress: as in `convert`.

    Entries that cannot be read are skipped and listed.

    ArgumentError, also where nothing can be read; StoreError; LatentstoreError where a library is missing.
    """
    options, listed, why = dict(storage_options or {}), None, ""
    if codec is None:
        choice = choose_codec(source, Labels(), options)
        codec, listed, why = choice.codec, choice.listed, choice.why
    chosen = load_codec(codec)
    modality, setting = chosen.modality, Setting(chosen, quality, channels, decoder)
    listed = listed or open_source(source, storage_options=options, modality=modality)
    if listed.kind == "zarr":
        raise ArgumentError(f"{source} is a Zarr array; only folders of files, or tars of them, can be evaluated")
    scorer = _scorer(modality, setting, curves)
    result = Evaluation(modality, scorer, [], [], why, listed.passed_over)
    with Progress(progress) as shown:
        unit = modality.nouns.many if scorer.steps == 1 else "measurements"
        shown.begin(f"evaluating {source}", total=len(listed) * scorer.steps, unit=unit)
        for item in listed:
            try:
                result.scores.extend(scorer.scores(item, shown.advance))
            except SignalError as error:
                reason = reason_of(item, error, modality)
                result.failures.append((item.path, reason))
                shown.note(f"left out: {item.path}: {reason}")
                shown.advance(scorer.steps)
    if not result.scores:
        raise ArgumentError(f"{source} holds no {modality.nouns.one} that can be read")
    if isinstance(scorer, ImageScorer):
        return replace(result, curves=scorer.curves, crops=scorer.crops, missing=scorer.missing)
    return result


def _scorer(modality: Modality, setting: Setting, curves: bool) -> Scorer:
    if not curves:
        return _SCORERS[modality.name](setting)
    if modality.name not in _CURVES:
        raise ArgumentError(f"curves are measured of images; {setting.codec.name} is a codec of {modality.name}")
    return _CURVES[modality.name](setting)


def _curve_rows(curves: list[Curve]) -> list[list[str]]:
    """A row for each codec: BD-rates, and the range of its curve."""
    rows = [["BD-rate against " + REFERENCE, "PSNR", "MS-SSIM", "bits/pixel", "encode MP/s", "decode MP/s"]]
    for curve in curves:
        bits = [point.bits_per_pixel for point in curve.points]
        speeds = [[getattr(point, name) for point in curve.points] for name in ("encode_mp_s", "decode_mp_s")]
        rates = ["none" if rate is None else f"{rate:+.1f} %" for rate in (curve.bd_psnr, curve.bd_ms_ssim)]
        spans = [f"{min(bits):.2f} to {max(bits):.2f}", *(f"{min(x):.1f} to {max(x):.1f}" for x in speeds)]
        rows.append([curve.codec, *rates, *spans])
    return rows


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
