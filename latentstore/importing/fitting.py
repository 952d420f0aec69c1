"""`latentstore fit-tensors`: coders that are fitted to a sample of the user's own tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentstore.codecs.artifact.container import read_file
from latentstore.codecs.errors import ArgumentError, LatentstoreError, SignalError, StoreError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.importing.asked import Asked
from latentstore.importing.fields import Fields
from latentstore.importing.reading import looked_at
from latentstore.importing.sample import Source
from latentstore.importing.source import open_tensors
from latentstore.loaders.remote.urls.place import path_here
from latentstore.progress import Progress

__all__ = ["fit_sample", "fit_tensors", "read_coders"]

SUFFIX = ".safetensors"
FIT_SAMPLES = 512
FIT_PARTS = 16


def fit_tensors(
    source: str | os.PathLike[str] | Sequence[str],
    out: str | os.PathLike[str],
    *,
    coding: str | None = None,
    snr: float | None = None,
    dtype: str | None = None,
    fields: Mapping[str, Any] | None = None,
    samples: int = FIT_SAMPLES,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> dict[str, Path]:
    """Fits a coder for each tensor field of `source`, and writes it; the files by the names of the fields.

    out: a folder, where each coder is ``FIELD.safetensors``; or a name in ``.safetensors``, if there is one tensor
    field alone. samples: how many samples from all over the source the coders are fitted to. The others are those of
    `import_tensors`.

    ArgumentError, LatentstoreError, StoreError: see `import_tensors`.
    """
    asked, place = Asked.of(dtype, coding, snr, fields), path_here(out, "coders are written to a disk")
    if samples < 1:
        raise ArgumentError(f"samples is {samples}; it is a number of samples, 1 or more")
    with Progress(progress) as shown:
        shown.begin(f"listing {source}")
        listed = open_tensors(source, storage_options, skipped=asked.skipped, without=(os.fspath(out),))
        found = Fields.of(looked_at(listed), asked, {})
        if place.suffix == SUFFIX and len(found.tensors) != 1:
            raise ArgumentError(
                f"{out} is one file, and the tensors of {listed.url} are {', '.join(found.tensors)}: name a folder"
            )
        shown.begin("fitting")
        coders = fit_sample(listed, found, samples)
    files = {name: place if place.suffix == SUFFIX else place / f"{name}{SUFFIX}" for name in coders}
    try:
        for name, coder in coders.items():
            files[name].parent.mkdir(parents=True, exist_ok=True)
            files[name].write_bytes(coder.to_bytes())
    except OSError as error:
        raise StoreError(f"{out}: could not be written: {error.strerror or error}") from error
    return files


def fit_sample(source: Source, fields: Fields, samples: int = FIT_SAMPLES) -> dict[str, TensorCoder]:
    """Coders of all tensor fields, fitted to samples from all over a source.

    LatentstoreError if none of them can be read.
    """
    rows: list[dict[str, Any]] = []
    reason = ""
    for sample in looked_at(source, min(FIT_PARTS, samples), -(-samples // min(FIT_PARTS, samples))):
        try:
            rows.append(fields.fitted(sample))
        except SignalError as error:
            reason = reason or f"{sample.path}: {error}"
    if not rows:
        raise LatentstoreError(f"no sample of {source.url} fits the fields; the first: {reason}")
    return {name: _fit(name, tensor, [row[name] for row in rows]) for name, tensor in fields.tensors.items()}


def _fit(name: str, tensor: Any, arrays: Sequence[Any]) -> TensorCoder:
    try:
        return TensorCoder.fit(tensor, arrays)
    except ArgumentError as error:
        raise ArgumentError(f"the field {name!r}: {error}") from error


def read_coders(coders: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, TensorCoder]:
    """Fitted coders by the names of their fields. coders: a coder or the path of its file for each field, or what
    `fit_tensors` wrote: a folder, or one file, whose field has the name "" here. ArgumentError if there is none."""
    if coders is None:
        return {}
    if not isinstance(coders, Mapping):
        path = path_here(coders, "coders are read from a disk")
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise ArgumentError(f"there is no coder in {coders}: it holds no {SUFFIX} file")
        coders = {one.name.removesuffix(SUFFIX) if path.is_dir() else "": one for one in files}
    return {
        name: one if isinstance(one, TensorCoder) else TensorCoder.of_bytes(read_file(one, "coder"), str(one))
        for name, one in coders.items()
    }
