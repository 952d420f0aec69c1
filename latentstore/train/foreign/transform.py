"""The wavelet packets of these checkpoints inside the graph of a training, on the device where that runs."""

from __future__ import annotations

import warnings

import torch

from latentstore.foreign.packets import PACKETS, TAPS, Packets

__all__ = ["packets_on"]


def packets_on(device: torch.device, side: int) -> Packets:
    """Those of pytorch-wavelets, with which the authors trained, where it is installed; else our own.

    side: of the bands. Both give the same values and gradients; pytorch-wavelets is nearly three times as fast. But its
    gradients are wrong where planes are shorter than the filters; there, our own are taken too.
    """
    if 2 * side < TAPS:
        return PACKETS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pkg_resources, which pytorch-wavelets 1.3 imports
            from pytorch_wavelets import DWTForward, DWTInverse
    except ImportError:  # also where setuptools has dropped pkg_resources
        return PACKETS
    forward = DWTForward(J=1, wave="bior4.4", mode="periodization").to(device)
    inverse = DWTInverse(wave="bior4.4", mode="periodization").to(device)

    def analysis(images: torch.Tensor, levels: int) -> torch.Tensor:
        for _ in range(levels):
            low, (others,) = forward(images)
            images = torch.cat([low[:, :, None], others], 2).flatten(1, 2)
        return images

    def synthesis(bands: torch.Tensor, levels: int) -> torch.Tensor:
        for _ in range(levels):
            four = bands.unflatten(1, (-1, 4))
            bands = inverse((four[:, :, 0], [four[:, :, 1:]]))
        return bands

    return Packets(analysis, synthesis)
