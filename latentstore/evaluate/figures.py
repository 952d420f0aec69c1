"""An evaluation as JSON: everything that was measured, and on what machine."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from latentstore.evaluate.api import Evaluation
from latentstore.version import __version__

__all__ = ["figures"]

VERSION = 1


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """The figures as values of JSON. What is not finite is None.

    scores: of every entry, at equal bytes. means: of those. curves: of images, if they were measured. missing: codecs
    that are not installed, and why.
    """
    scorer, names = evaluation.scorer, evaluation.scorer.figures
    found = {
        "version": VERSION,
        "latentstore": __version__,
        "machine": {
            "processor": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            **{name: found for name in ("pillow", "imagecodecs", "soundfile") if (found := _installed(name))},
        },
        "modality": evaluation.modality.name,
        "codecs": evaluation.codecs,
        "figures": list(names),
        "scores": [
            {
                "entry": score.entry,
                "codec": score.codec,
                "bytes": score.bytes,
                scorer.size_name: scorer.size(score.bytes, score.units),
                **dict(zip(names, score.figures, strict=True)),
            }
            for score in evaluation.scores
        ],
        "means": {codec: {name: evaluation.mean(codec, name) for name in names} for codec in evaluation.codecs},
        "curves": [asdict(curve) for curve in evaluation.curves],
        "missing": dict(evaluation.missing),
        "notes": scorer.notes(),
        "failures": [list(failure) for failure in evaluation.failures],
        "passed_over": dict(evaluation.passed_over),
    }
    return {key: _plain(value) for key, value in found.items()}


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
