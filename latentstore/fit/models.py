"""Fits what the entropy models of all codecs share: the parts they are of, and one set of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.file import make_artifact
from latentstore.codecs.artifact.parts import BUCKETS, FRACTIONS, SYMBOLS
from latentstore.codecs.codec import Codec
from latentstore.codecs.fit.entropy import cluster, fit_empty, sparse_counts
from latentstore.codecs.load import codec_from_bytes

__all__ = ["PRECISION", "SEED", "Int8s", "Tensors", "codec_of", "group_parts", "shared_tables", "sparse_tables"]

Int8s = npt.NDArray[np.int8]
Tensors = dict[str, npt.NDArray[Any]]

# Bits of a symbol's probability.
PRECISION = 12
SEED = 0


def codec_of(facts: dict[str, Any], tensors: Tensors) -> Codec:
    """The codec of an artifact's content."""
    return codec_from_bytes(make_artifact(facts, tensors))


def group_parts(latents: Sequence[Sequence[Int8s]], group: int) -> list[list[Int8s]]:
    """What each model is fitted on: the latents of every band, cut into groups of `group` channels."""
    groups = len(latents[0][0]) // group
    return [[x[g * group : (g + 1) * group] for x in band] for band in latents for g in range(groups)]


def shared_tables(counts: Sequence[npt.NDArray[Any]], group: int, tables: int) -> Tensors:
    """One set of `tables` tables for all models. counts: of the symbols in every context of each model."""
    joined = np.concatenate(counts)
    table, freq = cluster(joined.reshape(-1, joined.shape[-1]), tables, PRECISION)
    return {"entropy.table": table.reshape(len(counts), group, 4, 64), "entropy.freq": freq}


def sparse_tables(tensors: Tensors, parts: Sequence[Sequence[Int8s]], tables: int) -> Tensors:
    """What the sparse form of groups needs beside the tables that are there: `tables` more, and `empty`.

    parts: what each model is fitted on. Latents that writers would not code in this form count only where a model has
    no others.
    """
    table, freq = tensors["entropy.table"].copy(), tensors["entropy.freq"]
    models, group = table.shape[:2]
    plain = [i for i in range(models) if not tensors["entropy.predicted"][i].any()]
    chosen = [[x for x in part if 3 * np.count_nonzero(x.any(0)) < x[0].size] or part for part in parts]
    empty = np.stack([fit_empty(part, PRECISION) for part in chosen])
    counts = [sparse_counts(tensors, i, chosen[i]) for i in plain]
    if any(count.any() for count in counts):  # else nothing but zeros was seen, and any table will do
        levels = np.stack(counts).reshape(len(plain), group, FRACTIONS, BUCKETS, SYMBOLS)[:, :, 1:3]
        more, more_freq = cluster(levels.reshape(-1, SYMBOLS), tables, PRECISION)
        table[plain, :, 1:3] = more.reshape(len(plain), group, 2, BUCKETS) + len(freq)
        freq = np.concatenate([freq, more_freq])
    return {"entropy.table": table, "entropy.freq": freq, "entropy.empty": empty}
