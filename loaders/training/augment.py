"""Random changes of latents for training, without pixels: flips, quarter turns, windows, and fewer channels.

What a sample becomes is a function of the seed, the epoch and the sample's index (`loaders.epoch.order.draws`). So a
run that goes on repeats it, and neither workers, ranks nor batches change it.

Flips and turns of latents are exact (`codecs.image.symmetry`): values move, and some are negated. They are made of the
codes as stored, before normalisation, because negation and a mean do not commute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentstore.codecs.arguments import require_flag, require_number
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.symmetry import SYMMETRIES
from latentstore.loaders.epoch.order import draws
from latentstore.loaders.training.crops import ImageCrop, Windows
from latentstore.loaders.training.symmetries import Symmetries

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

# Streams of draws that must not meet each other, nor those of the order.
_TURNS, _TOP, _LEFT, _START, _PREFIX = 101, 102, 103, 104, 105
_FLIPS = {False: ("identity",), True: ("identity", "flip_h"), "both": ("identity", "flip_h", "flip_v", "rot180")}
_TURNED = ("identity", "rot90", "rot180", "rot270")


@dataclass(frozen=True)
class Augment:
    """Random changes of latents, for `LatentLoader(augment=...)`. Each sample is changed by itself.

    flip: images only. True: half of them are flipped left-right. "both": also top-bottom, independently.
    turn: images only. True: they are turned by 0, 1, 2 or 3 quarter turns. With `flip`, each of the eight symmetries of
        the square is as likely.
    crop: a random window, in latent positions: (height, width) of images, a number of instants of audio.
    seconds: audio only: the length of a random window, instead of `crop`. It is rounded up to whole instants.
    channels: (fewest, most): of each sample, a random number of the first channels is kept, each number as likely; the
        others become zeros in the batch.

    Batches get entries that say what was done, int64 each: "symmetry" (b,), a position in
    `latentstore.codecs.image.symmetry.SYMMETRIES`, with `flip` or `turn`; "corner" (b, 2), the top and left latent
    position of the window, with `crop` of images; "start" (b,), the first sample of the waveform that is in the window,
    of audio; "channels" (b,), how many are kept, with `channels`.

    A window is cut before a flip or turn. Quarter turns need square latents, or a square `crop`.

    ArgumentError: an argument is out of range, or nothing is asked for.
    """

    flip: bool | str = False
    turn: bool = False
    crop: tuple[int, int] | int | None = None
    seconds: float | None = None
    channels: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.flip != "both":
            if isinstance(self.flip, str):
                raise ArgumentError(f"flip is {self.flip!r}; it is True, False or 'both'.")
            object.__setattr__(self, "flip", require_flag(self.flip, "flip"))
        object.__setattr__(self, "turn", require_flag(self.turn, "turn"))
        if self.crop is not None and self.seconds is not None:
            raise ArgumentError("crop and seconds are both given; give one of them: they are the length of a window.")
        if self.seconds is not None and not _is_positive(self.seconds):
            raise ArgumentError(f"seconds is {self.seconds!r}; it is a number of seconds, more than 0.")
        if self.channels is not None:
            fewest, most = _pair(self.channels, "channels", "(fewest, most)")
            object.__setattr__(self, "channels", (fewest, require_number(most, "channels[1]", fewest)))
        if isinstance(self.crop, tuple | list):
            object.__setattr__(self, "crop", _pair(self.crop, "crop", "(height, width)"))
        elif self.crop is not None:
            object.__setattr__(self, "crop", require_number(self.crop, "crop", 1))
        if not (self.flip or self.turn or self.crop or self.seconds or self.channels):
            raise ArgumentError("Augment() changes nothing; give flip, turn, crop, seconds or channels.")

    def on(self, ds: LatentDataset, seed: int = 0) -> Augmentation:
        """What this does to the latents of `ds`, to be called with batches; `LatentLoader` calls it by itself.

        seed: 0 to 2^64 - 1. ArgumentError with the reason if the latents of `ds` cannot be changed so.
        """
        return Augmentation(self, ds, seed)

    @property
    def cuts(self) -> bool:
        """Whether windows are cut."""
        return self.crop is not None or self.seconds is not None

    @property
    def symmetries(self) -> list[int]:
        """Positions in ``SYMMETRIES`` of what may happen to a sample."""
        turned: tuple[str, ...] = SYMMETRIES if self.flip else _TURNED
        names = turned if self.turn else _FLIPS[self.flip]
        return [SYMMETRIES.index(name) for name in names]


class Augmentation:
    """`Augment` at work on the latents of one data set. Thread-safe, and it can be pickled.

    entries: what batches get beside the latents. window: the window that is cut of recordings, or None.
    """

    def __init__(self, options: Augment, ds: LatentDataset, seed: int) -> None:
        self.options = options
        self.seed = require_number(seed, "seed", 0, (1 << 64) - 1)
        numbers = options.symmetries
        self._numbers = np.array(numbers, np.int64)
        self._symmetries = Symmetries(ds.codec, ds.channels, numbers) if len(numbers) > 1 else None
        self._crop, self.window = _cut_of(options, ds)
        if options.channels is not None and options.channels[1] > ds.channels:
            raise ArgumentError(f"channels is {options.channels}; {ds.url} is opened with {ds.channels} channels.")
        self._require_square(ds)
        given = (self._symmetries, self._crop, self.window, options.channels)
        names = ("symmetry", "corner", "start", "channels")
        self.entries = frozenset(name for name, value in zip(names, given, strict=True) if value is not None)

    def _require_square(self, ds: LatentDataset) -> None:
        shape = ds.latent_shape if self._crop is None else (ds.channels, *self._crop.size)
        if self.options.turn and shape is not None and shape[1] != shape[2]:
            raise ArgumentError(
                f"turn=True needs square latents, and these would be {shape[1]} x {shape[2]}: a batch cannot hold "
                "lying and standing ones. Give a square crop, or flip='both' in place of turn"
            )

    def __call__(self, batch: dict[str, Any], indices: Any, epoch: int = 0) -> dict[str, Any]:
        """A new batch, with changed latents, from one with codes, int8 (b, c, h, w), under "latent".

        The tensor may be on any device. It may also hold floats, if these are codes times a scale without a mean
        subtracted. indices: whole numbers (b,) that tell the samples apart, as a rule those of the store. Of audio,
        only `channels` is possible here: the windows of recordings are cut while they are read.
        """
        if self.window is not None:
            raise ArgumentError("windows of recordings are cut while these are read: give augment to LatentLoader")
        indices = np.asarray(indices)
        latents, told = self.moved(batch["latent"], indices, epoch)
        kept = self.kept(indices, epoch)
        if kept is not None:
            latents, told["channels"] = dropped(latents, kept), torch.from_numpy(kept)
        return {**batch, "latent": latents, **told}

    def moved(self, latents: Any, indices: np.ndarray, epoch: int) -> tuple[Any, dict[str, torch.Tensor]]:
        """(the latents of images, cut, flipped and turned; entries for the batch).

        latents: a tensor (b, c, h, w), or a list of tensors (c, h, w), which stays one unless all are cut to one size.
        """
        told = {}
        if self._crop is not None:
            room = self._crop.room(latents)
            corner = np.stack(
                [_below(self._draw(indices, _TOP, epoch), room[0]), _below(self._draw(indices, _LEFT, epoch), room[1])],
                axis=1,
            )
            latents, told["corner"] = self._crop.cut(latents, corner), torch.from_numpy(corner)
        if self._symmetries is not None:
            which = self._numbers[_below(self._draw(indices, _TURNS, epoch), len(self._numbers))]
            latents, told["symmetry"] = self._symmetries(latents, which), torch.from_numpy(which)
        return latents, told

    def starts(self, instants: np.ndarray, indices: np.ndarray, epoch: int) -> np.ndarray:
        """int64 (b,): the first instant of the window of each recording, of which `instants`, int64 (b,), are long."""
        assert self.window is not None
        room = np.maximum(instants - self.window.instants, 0) + 1
        return _below(self._draw(indices, _START, epoch), room)

    def kept(self, indices: np.ndarray, epoch: int) -> np.ndarray | None:
        """int64 (b,): how many of its first channels each sample keeps; None if all keep all."""
        if self.options.channels is None:
            return None
        fewest, most = self.options.channels
        return fewest + _below(self._draw(indices, _PREFIX, epoch), most - fewest + 1)

    def _draw(self, indices: np.ndarray, stream: int, epoch: int) -> np.ndarray:
        return draws(indices, stream, self.seed, epoch)


def dropped(latents: Any, kept: np.ndarray) -> Any:
    """`latents` with zeros in all but the first kept[i] channels of sample i: a tensor (b, c, ...), changed in place,
    or a list of tensors (c, ...)."""
    if isinstance(latents, list):
        for latent, count in zip(latents, kept.tolist(), strict=True):
            latent[count:] = 0
        return latents
    absent = np.arange(latents.shape[1]) >= kept[:, None]
    if latents.dtype == torch.int8 and latents.device.type == "cpu":  # in a tenth of torch's time
        latents.numpy()[absent] = 0
    else:
        planes = torch.from_numpy(np.flatnonzero(absent)).to(latents.device)
        latents.view(-1, *latents.shape[2:]).index_fill_(0, planes, 0)
    return latents


def _below(bits: np.ndarray, ends: Any) -> np.ndarray:
    """int64: whole numbers from 0 to before `ends` (1 to 2^31), from random bits, uint64."""
    return ((bits >> np.uint64(32)) * np.asarray(ends).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _pair(value: Any, name: str, said: str) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentError(f"{name} is {value!r}; it is {said}.")
    return require_number(value[0], f"{name}[0]", 1), require_number(value[1], f"{name}[1]", 1)


def _cut_of(options: Augment, ds: LatentDataset) -> tuple[ImageCrop | None, Windows | None]:
    if options.crop is None and options.seconds is None:
        return None, None
    return _CUTS[ds.modality.name](options, ds)


def _image_cut(options: Augment, ds: LatentDataset) -> tuple[ImageCrop, None]:
    if not isinstance(options.crop, tuple):
        said = f"crop is {options.crop}" if options.seconds is None else "seconds is given"
        raise ArgumentError(f"{said}, but {ds.url} holds images: a window of these is crop=(height, width).")
    return ImageCrop(ds, options.crop), None


def _audio_cut(options: Augment, ds: LatentDataset) -> tuple[None, Windows]:
    if isinstance(options.crop, tuple):
        raise ArgumentError(f"crop is {options.crop}, but {ds.url} holds audio: a window is a number of instants.")
    return None, Windows(ds, options.crop, options.seconds)


_CUTS = {"image": _image_cut, "audio": _audio_cut}
