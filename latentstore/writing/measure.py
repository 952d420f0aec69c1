"""Checking and measuring the samples of a shard: every blob is decoded once, for the statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.loaders.stats import Moments
from latentstore.writing.spec import Sample

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

# Decoded at once, in pixels of images or samples of audio: bounds the memory.
RUN_EXTENT = 1 << 24


def measure(codec: Codec, size: tuple[int, int] | None, samples: Sequence[Sample], where: str) -> Moments:
    """The moments of the latents of `samples`.

    size: what all samples must have, or None. ArgumentError if a sample does not fit the store, CorruptError if a blob
    cannot be decoded; both name `where` and the key.
    """
    return Moments.total((_run(codec, size, run, where) for run in _runs(samples)), codec.channels)


def _run(codec: Codec, size: tuple[int, int] | None, run: Sequence[Sample], where: str) -> Moments:
    own = (run[0].height, run[0].width)
    if size is not None and own != size:
        raise ArgumentError(f"{where}, {run[0].key!r}: its (height, width) is {own}, and in this store it is {size}")
    steps = np.array([_step(codec, sample, where) for sample in run], np.int64)
    h, w = codec.latent_shape(*own)[1:]
    latents = np.empty((len(run) * codec.groups, codec.group_channels, h, w), np.int8)
    try:
        codec.read_groups(Blobs.whole([blob for sample in run for blob in sample.groups]), latents)
    except LatentstoreError as error:
        if error.index is None:
            raise
        raise type(error)(f"{where}, {run[error.index // codec.groups].key!r}: {error}") from error
    return Moments.of(latents.reshape(len(run), codec.channels, h * w), steps)


def _step(codec: Codec, sample: Sample, where: str) -> int:
    """The step code of a sample, 0 where there are none; also checks its number of blobs and its fields."""
    modality = codec.modality
    if len(sample.groups) != codec.groups:
        raise ArgumentError(
            f"{where}, {sample.key!r}: it has {len(sample.groups)} group blobs, and samples of {codec.name} have "
            f"{codec.groups}"
        )
    for name in modality.fields:
        if not isinstance(sample.fields.get(name), int):
            raise ArgumentError(f"{where}, {sample.key!r}: {modality.name} needs the field {name!r}, a whole number")
    step = sample.fields["step"] if "step" in modality.fields else 0
    if not modality.has_steps(np.array([step]))[0]:
        raise ArgumentError(f"{where}, {sample.key!r}: its step code is {step!r}, expected {modality.steps_said}")
    return int(step)


def _runs(samples: Sequence[Sample]) -> list[list[Sample]]:
    """`samples` in order, cut into runs of one size, each of about `RUN_EXTENT` at most."""
    runs: list[list[Sample]] = []
    for sample in samples:
        size = (sample.height, sample.width)
        last = runs[-1] if runs else []
        fits = (len(last) + 1) * size[0] * size[1] <= RUN_EXTENT
        if last and fits and (last[0].height, last[0].width) == size:
            last.append(sample)
        else:
            runs.append([sample])
    return runs
