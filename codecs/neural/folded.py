"""The network that refines audio, in NumPy: from bands to what they lack (docs/learned/decoders.md)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.decoder import DecoderFile
from latentstore.codecs.artifact.folded import FOLD, TOLD
from latentstore.codecs.neural.convolution import convolved, gelu, layers_of
from latentstore.codecs.neural.frame import Frame

__all__ = ["FoldedNetwork"]

Floats = npt.NDArray[np.float32]


class FoldedNetwork:
    """The network of one decoder file of audio. It can be used by several threads at once."""

    def __init__(self, file: DecoderFile) -> None:
        tensors = {name: np.asarray(value, np.float32) for name, value in file.tensors.items()}
        self.shape = file.folded
        self._layers = layers_of(tensors)
        self._last = np.ascontiguousarray(tensors["last.weight"][:, :, 0, 0].T)
        self._last_bias, self._deviation = tensors["last.bias"], tensors["deviation"]
        self._places = np.linspace(-1, 1, self.shape.rows, dtype=np.float32)[:, None]

    @property
    def reach(self) -> int:
        """How many instants away a band still has an influence."""
        return 1 + 2 * self.shape.blocks

    def answer(self, bands: Floats, share: Floats, kept: float, told: float) -> Floats:
        """What bands lack, in units of the step: float32 (b, t) to float32 (b, t).

        bands: those that the linear decoder makes, in units of the step, of one mixed signal after another. share:
        float32 (b,), how much of each the channels hold. kept: the share of the channels that there are. told: the
        logarithm to base 2 of the step over that of the default quality, or 0 where a step does not say the quality.
        """
        frame, planes = Frame(self.shape.rows, bands.shape[1]), self.shape.planes
        x = np.zeros((frame.rows, 3 * planes + TOLD), np.float32)
        inner = frame.inner(x)[:, : frame.width]
        self._fold(np.tanh(bands), inner[..., :planes])
        self._fold(np.copysign(np.log1p(np.abs(bands)), bands), inner[..., planes : 2 * planes])
        self._fold(np.broadcast_to(share[:, None], bands.shape), inner[..., 2 * planes : 3 * planes])
        inner[..., 3 * planes] = self._places
        inner[..., 3 * planes + 1 :] = (kept, told / 2)
        layers = self._layers
        x = convolved(layers["first"], x, frame)
        for block in range(self.shape.blocks):
            between = convolved(layers[f"blocks.{block}.a"], x, frame, bent=True)
            x = convolved(layers[f"blocks.{block}.b"], between, frame, added=x)
        flat = x[frame.first : frame.first + frame.count]
        gelu(flat, *np.empty((3, *flat.shape), np.float32))
        folded = (flat @ self._last + self._last_bias).reshape(frame.height, frame.stride, planes)
        return self._unfolded(folded[:, : frame.width])

    def _fold(self, bands: Floats, out: Floats) -> None:
        """float32 (b, t) into (rows, t, planes); what a mixed signal has no bands for stays as it is."""
        at = 0
        for signal, count in enumerate(self.shape.bands):
            part = bands[at : at + count].reshape(count // FOLD, FOLD, -1)
            out[: count // FOLD, :, FOLD * signal : FOLD * (signal + 1)] = part.transpose(0, 2, 1)
            at += count

    def _unfolded(self, folded: Floats) -> Floats:
        """(rows, t, planes) to float32 (b, t), times the deviations."""
        parts = [
            folded[: count // FOLD, :, FOLD * signal : FOLD * (signal + 1)].transpose(0, 2, 1).reshape(count, -1)
            for signal, count in enumerate(self.shape.bands)
        ]
        return np.concatenate(parts) * self._deviation[:, None]
