"""The entropy coder of audio: adaptive models, and groups cut into segments (docs/format-audio.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.bitstream.segments import SEGMENT, is_segmented, join_segments, split_segments
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.entropy.coder import EntropyCoder
from latentstore.codecs.errors import CorruptError, LatentstoreError, TruncatedError
from latentstore.codecs.modality import AUDIO, Modality
from latentstore.codecs.native import backend

__all__ = ["ADAPTIVE_TABLES", "AdaptiveCoder"]

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

ADAPTIVE_TABLES = ("own", "bias", "cross", "taps", "source", "rate", "gain", "table", "freq")


class AdaptiveCoder(EntropyCoder):
    """Codes the groups of an artifact's latents of audio, int8 (group_channels, 1, t)."""

    modality: ClassVar[Modality] = AUDIO
    tables: ClassVar[tuple[str, ...]] = ADAPTIVE_TABLES

    def _make(self, precision: int, tables: list[npt.NDArray[Any]]) -> Any:
        return backend().adaptive_new(self.sha256, precision, *tables)

    def claims(self, blob: memoryview) -> tuple[int, int]:
        """See `EntropyCoder.claims`; of a group in segments, what its own header claims."""
        return (1, split_segments(blob, self.sha256)[0]) if is_segmented(blob) else super().claims(blob)

    def encode_runs(self, runs: Iterable[Int8s], band: int | None, code: int) -> list[bytes]:
        """The group blobs of a latent of audio. A long latent is cut into segments.

        runs: int8 (channels, 1, r), one after another, all but the last of whole segments. band: as in `encode`.
        code: the step code; 0 if it is not known.
        """
        instants, segments = 0, []
        for run in runs:
            instants += run.shape[2]
            for part in _segmented(run, self.groups):
                segments += self._encode_run(part, band, code)
        if len(segments) == 1:
            return segments[0]
        return [join_segments(blobs, instants, self.sha256) for blobs in zip(*segments, strict=True)]

    def _encode_run(self, run: Int8s, band: int | None, code: int) -> list[list[bytes]]:
        """Blobs of every group of every segment; run: int8 (segments, groups, group_channels, 1, t)."""
        flat = run.reshape(-1, *run.shape[2:])
        if band is None:
            blobs = [self.encode(group, quality=code) for group in flat]
        else:
            blobs = list(backend().coder_encode_many(self._coder, self._models(band, len(run)), code, flat))
        return [blobs[at : at + self.groups] for at in range(0, len(blobs), self.groups)]

    def optimise_all(self, coefficients: Floats, band: int, weight: Floats, lambda_: float, delta: Floats) -> Int8s:
        """`optimise` for all groups of a recording: float32 (channels, 1, t) to int8 of that shape."""
        made = []
        for run in _segmented(coefficients, self.groups):
            flat, segments = run.reshape(-1, *run.shape[2:]), len(run)
            each = weight.reshape(self.groups, -1), delta.reshape(self.groups, -1, 2)
            if segments > 1:
                each = np.tile(each[0], (segments, 1)), np.tile(each[1], (segments, 1, 1))
            out = np.empty(flat.shape, np.int8)
            backend().coder_optimise_many(
                self._coder, self._models(band, segments), flat, each[0], lambda_, each[1], out
            )
            made.append(out.reshape(run.shape).transpose(1, 2, 3, 0, 4).reshape(*coefficients.shape[:2], -1))
        return np.concatenate(made, axis=2)

    def _models(self, band: int, segments: int) -> npt.NDArray[np.int32]:
        one = np.arange(self.groups, dtype=np.int32) + band * self.groups
        return one if segments == 1 else np.tile(one, segments)

    def decode_instants(
        self,
        groups: Sequence[memoryview],
        instants: int,
        first: int,
        last: int,
        name: Callable[[int], str] = "Group {}".format,
    ) -> tuple[Int8s, int, set[int]]:
        """Decodes the segments that hold the instants from `first` to before `last`.

        groups: the blobs of groups int8 (group_channels, 1, instants). Returns int8 (n, group_channels, 1, some),
            the first instant of it, and the step codes of the segments. Raises the errors of `decode`.
        """
        begin, end = first // SEGMENT * SEGMENT, min(-(-last // SEGMENT) * SEGMENT, instants)
        tables = [self._bounds(group, g, name(g), instants) for g, group in enumerate(groups)]
        out = np.empty((len(groups), self.group_channels, 1, end - begin), np.int8)
        whole, rest = divmod(end - begin, SEGMENT)
        codes: set[int] = set()
        # as many segments at once as fill the decoder's lanes a few times over
        most = max(1, 64 // len(groups))
        runs = [(at, min(most, whole - at), SEGMENT) for at in range(0, whole, most)] + [(whole, 1, rest)] * (rest > 0)
        for at, count, width in runs:
            places = range(begin // SEGMENT + at, begin // SEGMENT + at + count)
            start = np.array([bounds[i] for i in places for bounds in tables], np.int64)
            length = np.array([bounds[i + 1] - bounds[i] for i in places for bounds in tables], np.int64)
            source = np.tile(np.arange(len(groups), dtype=np.int32), count)
            part = np.empty((len(source), self.group_channels, 1, width), np.int8)
            try:
                super().decode(Blobs(groups, source, start, length), part, lambda i: name(i % len(groups)))
            except LatentstoreError as error:
                error.index = None if error.index is None else error.index % len(groups)
                raise
            # they are whole, so that each has these bytes of its header
            pairs = (groups[g][first + 2 : first + 4] for g, first in zip(source.tolist(), start.tolist(), strict=True))
            codes |= {self.modality.from_group(code, level)[0] for code, level in pairs}
            shaped = part.reshape(count, *out.shape[:3], width).transpose(1, 2, 3, 0, 4)
            out[..., at * SEGMENT : at * SEGMENT + count * width] = shaped.reshape(*out.shape[:3], -1)
        return out, begin, codes

    def decode_rows(
        self, blobs: Blobs, instants: npt.NDArray[np.int32], name: Callable[[int], str] = "Group blob {}".format
    ) -> Int8s:
        """Does what `decode` does for groups of any lengths, instants: int32 (n,).

        Returns them in order, flat: int8 (sum of group_channels * instants,).
        """
        if self._is_much(blobs, int(instants.sum(dtype=np.int64))):
            self.require_claims(blobs, [(1, t) for t in instants.tolist()], name)
        ends = np.cumsum(instants.astype(np.int64) * self.group_channels)
        out = np.empty(int(ends[-1]) if len(ends) else 0, np.int8)
        segmented = np.flatnonzero(instants > SEGMENT)
        short = np.flatnonzero(instants <= SEGMENT)
        into = out if not len(segmented) else np.empty(int(instants[short].sum()) * self.group_channels, np.int8)
        few = blobs if not len(segmented) else blobs.take(short)
        status, index = backend().coder_decode_rows(self._coder, *few.arrays(), instants[short], into)
        if status:
            which = int(short[index])
            raise self._error(status, which, name(which), blobs[which], (1, int(instants[which])))
        if not len(segmented):
            return out
        at = 0
        for i in short.tolist():
            size = int(instants[i]) * self.group_channels
            out[ends[i] - size : ends[i]] = into[at : at + size]
            at += size
        for i in segmented.tolist():
            shape = (1, self.group_channels, 1, int(instants[i]))
            part = out[ends[i] - shape[1] * shape[3] : ends[i]].reshape(shape)
            try:
                self.decode(blobs.take(slice(i, i + 1)), part, partial(_nth, name, i))
            except LatentstoreError as error:
                error.index = i
                raise
        return out

    def decode_windows(
        self,
        blobs: Blobs,
        instants: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64],
        last: npt.NDArray[np.int64],
        name: Callable[[int], str] = "Group blob {}".format,
    ) -> list[Int8s]:
        """Decodes the instants from first[i] to before last[i] of blob i, and no segment that has none of them.

        instants, first, last: int64 (n,) each; 0 <= first < last <= instants. Returns n arrays int8 (group_channels,
            last - first). Raises the errors of `decode`.
        """
        owner, begin, start, length = [], [], [], []
        spans = zip(instants.tolist(), first.tolist(), last.tolist(), strict=True)
        for i, (whole, a, b) in enumerate(spans):
            bounds = self._bounds(blobs[i], i, name(i), whole).tolist()
            for k in range(a // SEGMENT, -(-b // SEGMENT)):
                owner.append(i)
                begin.append(k * SEGMENT)
                start.append(bounds[k])
                length.append(bounds[k + 1] - bounds[k])
        which, at = np.array(owner, np.int64), np.array(begin, np.int64)
        parts = Blobs(
            blobs.buffers, blobs.source[which], blobs.start[which] + np.array(start), np.array(length, np.int64)
        )
        sizes = np.minimum(instants[which] - at, SEGMENT)
        try:
            flat = self.decode_rows(parts, sizes.astype(np.int32), lambda part: name(owner[part]))
        except LatentstoreError as error:
            error.index = None if error.index is None else owner[error.index]
            raise
        rows = np.split(flat, np.cumsum(sizes * self.group_channels)[:-1])
        found = [np.empty((self.group_channels, b - a), np.int8) for a, b in zip(first, last, strict=True)]
        for i, t, row in zip(owner, begin, rows, strict=True):
            decoded = row.reshape(self.group_channels, -1)
            a, b = max(int(first[i]), t), min(int(last[i]), t + decoded.shape[1])
            found[i][:, a - int(first[i]) : b - int(first[i])] = decoded[:, a - t : b - t]
        return found

    def _bounds(self, group: memoryview, index: int, name: str, instants: int) -> npt.NDArray[np.int64]:
        """Where the blobs of a group's segments begin, and where the last one ends."""
        if instants <= SEGMENT:
            return np.array([0, len(group)], np.int64)
        if not is_segmented(group):
            raise CorruptError(f"{name} is not cut into segments, and has {instants} instants.", index)
        try:
            found, bounds = split_segments(group, self.sha256)
        except LatentstoreError as error:
            raise type(error)(f"{name} cannot be read: {error}", index) from error
        if found != instants:
            raise CorruptError(f"{name} has {found} instants where {instants} are expected.", index)
        if bounds[-1] != len(group):
            kind = TruncatedError if bounds[-1] > len(group) else CorruptError
            raise kind(f"{name} has {len(group)} bytes, and its segments end at {bounds[-1]}.", index)
        return bounds

    def decode(self, blobs: Blobs, out: Int8s, name: Callable[[int], str] = "Group blob {}".format) -> None:
        """See `EntropyCoder.decode`; groups may be in segments."""
        if out.shape[3] <= SEGMENT:
            super().decode(blobs, out, name)
            return
        groups = [blobs[i] for i in range(len(blobs))]
        out[...] = self.decode_instants(groups, out.shape[3], 0, out.shape[3], name)[0].reshape(out.shape)


def _nth(name: Callable[[int], str], i: int, _: int) -> str:
    return name(i)


def _segmented(planes: npt.NDArray[Any], groups: int) -> list[npt.NDArray[Any]]:
    """(channels, 1, t) cut to (segments, groups, group_channels, 1, SEGMENT), and the shorter rest, if there is one."""
    grouped = planes.reshape(groups, -1, *planes.shape[1:])
    whole = planes.shape[-1] // SEGMENT * SEGMENT
    runs = []
    if whole:
        cut = grouped[..., :whole].reshape(*grouped.shape[:3], -1, SEGMENT)
        runs.append(np.ascontiguousarray(cut.transpose(3, 0, 1, 2, 4)))
    if whole < planes.shape[-1]:
        runs.append(np.ascontiguousarray(grouped[None, ..., whole:]))
    return runs
