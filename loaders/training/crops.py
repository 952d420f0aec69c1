"""Windows of latents: of images, cut from decoded batches; of recordings, read without decoding the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from latentstore.codecs.errors import ArgumentError

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset


class ImageCrop:
    """Windows of images' latents.

    size: (height, width) of a window, in latent positions. ArgumentError if the latents of `ds` are smaller.
    """

    def __init__(self, ds: LatentDataset, size: tuple[int, int]) -> None:
        self.size = size
        self._where = ds.url
        shape = ds.latent_shape
        if shape is not None:
            self._require(*shape[1:], "")

    def room(self, latents: Any) -> tuple[Any, Any]:
        """How many places there are for a window, down and across: numbers, or int64 (b,) of latents in a list."""
        if not isinstance(latents, list):
            return latents.shape[2] - self.size[0] + 1, latents.shape[3] - self.size[1] + 1
        sides = np.array([latent.shape[1:] for latent in latents], np.int64).reshape(-1, 2)
        for height, width in sides.tolist():
            self._require(height, width, "one of ")
        down, across = (sides - self.size + 1).T
        return down, across

    def cut(self, latents: Any, corner: np.ndarray) -> torch.Tensor:
        """The windows whose top and left positions are corner, int64 (b, 2): a tensor (b, c, *size).

        latents: a tensor (b, c, h, w) on any device, or a list of tensors (c, h, w).
        """
        height, width = self.size
        if isinstance(latents, list):
            pairs = zip(latents, corner.tolist(), strict=True)
            return torch.stack([latent[:, top : top + height, left : left + width] for latent, (top, left) in pairs])
        if latents.dtype == torch.int8 and latents.device.type == "cpu":
            places = np.lib.stride_tricks.sliding_window_view(latents.numpy(), self.size, (2, 3))
            return torch.from_numpy(places[np.arange(len(latents)), :, corner[:, 0], corner[:, 1]])
        windows = latents.unfold(2, height, 1).unfold(3, width, 1)
        top, left = torch.from_numpy(corner).to(latents.device).T
        return windows[torch.arange(len(latents), device=latents.device), :, top, left]

    def _require(self, height: int, width: int, which: str) -> None:
        if height < self.size[0] or width < self.size[1]:
            raise ArgumentError(
                f"crop is {self.size[0]} x {self.size[1]} latent positions, and {which}the latents of {self._where} "
                f"{'has' if which else 'have'} {height} x {width}: give a smaller crop"
            )


class Windows:
    """Windows of recordings, all of one length.

    crop: the length in instants, or None, and then seconds says it. ArgumentError if all recordings have one length,
    and it is shorter.

    instants: the length. reduction: samples of the waveform per instant.
    """

    def __init__(self, ds: LatentDataset, crop: int | None, seconds: float | None) -> None:
        self.ds, self.reduction = ds, ds.codec.reduction
        self._rate: int | None = None
        if crop is None:
            assert seconds is not None
            self._rate = int(ds.fields(np.array([0]))["rate"][0]) if len(ds) else 1
            crop = -(-math.ceil(seconds * self._rate) // self.reduction)
        self.instants = crop
        if ds.latent_shape is not None and ds.latent_shape[2] < crop:
            raise ArgumentError(
                f"a window is {crop} instants long, and the recordings of {ds.url} have {ds.latent_shape[2]}: give a "
                "shorter one"
            )

    def lengths(self, samples: np.ndarray) -> np.ndarray:
        """int64 (b,): how many instants recordings of so many samples have."""
        return -(-samples // self.reduction)

    def check(self, fields: dict[str, Any]) -> None:
        """ArgumentError if the length was said in seconds, and recordings with these fields have other rates."""
        if self._rate is None:
            return
        other = np.flatnonzero(np.asarray(fields["rate"]) != self._rate)
        if len(other):
            raise ArgumentError(
                f"{self.ds.url} holds recordings of {self._rate} and of {int(fields['rate'][other[0]])} hertz, so a "
                "window in seconds would have several lengths: give crop, a number of instants, in place of seconds"
            )

    def latents(self, indices: np.ndarray, samples: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
        """n arrays int8 (channels, t): the windows that begin at instants `first`, int64 (n,); t is less than
        `instants` where the recording is shorter. samples: int64 (n,), of the recordings."""
        return self.ds.read_windows(indices, first, np.minimum(first + self.instants, self.lengths(samples)))

    def waveforms(
        self,
        indices: np.ndarray,
        samples: np.ndarray,
        first: np.ndarray,
        steps: np.ndarray,
        kept: np.ndarray | None,
        decoder: Decoder | None,
    ) -> list[np.ndarray]:
        """n arrays float32 (t, inputs): the same windows, decoded. They are what the decoded recordings have there.

        steps: the step codes. kept: how many of its first channels each is decoded from; None for all. decoder: a
        trained one, or None.
        """
        codec = cast("AudioCodec", self.ds.codec)
        start, instants = first * self.reduction, self.lengths(samples)
        stop = np.minimum(start + self.instants * self.reduction, samples)
        spans = zip(start.tolist(), stop.tolist(), instants.tolist(), strict=True)
        low, high = np.array([codec.needed(a, b, t, decoder) for a, b, t in spans], np.int64).reshape(-1, 2).T
        latents = self.ds.read_windows(indices, low, high)
        if kept is not None:
            latents = [latent[:count] for latent, count in zip(latents, kept.tolist(), strict=True)]
        columns = (each.tolist() for each in (low, instants, start, stop, steps))
        rows = zip(latents, *columns, strict=True)
        return [
            codec.decode_window(latent[:, None], a, t, begin, end, code, decoder)
            for latent, a, t, begin, end, code in rows
        ]
