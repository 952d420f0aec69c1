"""Asks the authors' packages what they make with checkpoints of random weights:

    pip install --no-deps walloc==1.2.1 livecodec==0.0.1 tft==0.13.0
    pip install einops diffusers pytorch-wavelets "setuptools<81"
    python tests/data/checkpoints/make.py

It writes cases.json and answers.npz beside this file, and prints how far latentstore is from the answers. Of
torchvision and timm, which the packages import and which must fit torch exactly, stand-ins are enough: conversions to
Pillow's images are not called, and of timm an activation is used.
"""

from __future__ import annotations

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import diffusers.models.autoencoders  # noqa: F401  (before the stand-ins: it looks for torchvision itself)
import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent
SUPPORT = FOLDER.parent.parent / "support"
sys.path[:0] = [str(SUPPORT), str(SUPPORT / "checkpoints")]


def _stand_in(name: str, **members: object) -> None:
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


_stand_in("torchvision")
_stand_in("torchvision.transforms", ToPILImage=None, PILToTensor=None)
_stand_in("torchvision.transforms.v2")
_stand_in("torchvision.transforms.v2.functional", pil_to_tensor=None, to_pil_image=None)
_stand_in("timm")
_stand_in("timm.models")
_stand_in("timm.models.efficientvit_mit", GELUTanh=lambda: nn.GELU(approximate="tanh"))

CASES: dict[str, dict[str, Any]] = {
    "linear": {
        "package": "walloc", "size": [32, 40, 3],
        "gains": {"encoder.0.weight": 60.0, "decoder.1.conv_out.weight": 0.6},
        "config": {"channels": 3, "J": 3, "Ne": 32, "Nd": 32, "latent_dim": 12, "latent_bits": 8,
                   "lightweight_encode": True},
    },
    "network": {
        "package": "walloc", "size": [24, 20, 1],
        "gains": {"encoder.0.conv_out.weight": 15.0, "decoder.1.conv_out.weight": 0.4},
        "config": {"channels": 1, "J": 2, "Ne": 32, "Nd": 64, "latent_dim": 5, "latent_bits": 6,
                   "lightweight_encode": False},
    },
    "light": {
        "package": "livecodec", "size": [16, 24, 3],
        "gains": {"conv_up.conv2.weight": 0.06, "quantize.compand.sigma": 8.0},
        "config": {"input_channels": 3, "F": 4, "latent_dim": 12, "encoder_depth": 2, "encoder_kernel_size": 3,
                   "decoder_depth": 2, "lightweight_encode": True, "lightweight_decode": False},
    },
    "heavy": {
        "package": "livecodec", "size": [32, 16, 1],
        "gains": {"conv_up.conv2.weight": 0.06, "quantize.compand.sigma": 8.0},
        "config": {"input_channels": 1, "F": 8, "latent_dim": 8, "encoder_depth": 1, "encoder_kernel_size": 1,
                   "decoder_depth": 2, "lightweight_encode": False, "lightweight_decode": True},
    },
}  # fmt: skip


def theirs(case: dict[str, Any]) -> nn.Module:
    config = case["config"]
    if case["package"] == "walloc":
        from walloc.walloc import Codec2D

        return Codec2D(**config)
    from livecodec.codec import AutoCodecND

    given = {key: value for key, value in config.items() if key != "F"}
    return AutoCodecND(dim=2, J=int(np.log2(config["F"])), **given)


def describe(case: dict[str, Any], model: nn.Module) -> None:
    """Adds the shapes of the weights, and which are filters of the transform."""
    state = model.state_dict()
    case["weights"] = {name: list(tensor.shape) for name, tensor in state.items()}
    filters = [name for name in state if name.rpartition(".")[0].endswith("wt")]
    case["kinds"] = dict.fromkeys(filters, "filter")
    case["filters"] = {
        name.rpartition(".")[2].partition("_")[0]: [float(x) for x in state[name].flatten()] for name in filters
    }


@torch.inference_mode()
def answer(case: dict[str, Any], model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, their values before rounding, and pixels, neither limited nor rounded."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if case["package"] == "walloc":
        bands = model.wavelet_analysis(x / 255 - 0.5, J=model.J)
        raw = model.encoder[:2](bands)
        latents = model.encoder[2](raw)
        pixels = 255 * (model.wavelet_synthesis(model.decoder(latents), J=model.J) + 0.5)
    else:
        raw = model.quantize.compand(model.encode(x / 127.5 - 1))
        latents = raw.round()
        pixels = 127.5 * (model.decode(latents) + 1)
    return latents.numpy().astype(np.int8), raw.numpy(), pixels.permute(0, 2, 3, 1).numpy()


def main() -> None:
    answers: dict[str, np.ndarray] = {}
    models = {}
    for name, case in CASES.items():
        models[name] = theirs(case).eval()
        describe(case, models[name])
    (FOLDER / "cases.json").write_text(json.dumps(CASES, indent=None, separators=(",", ":"), sort_keys=True) + "\n")
    import foreign_checkpoints

    import latentstore

    for name, case in CASES.items():
        models[name].load_state_dict(foreign_checkpoints.weights(case))
        images = foreign_checkpoints.images(case)
        latents, raw, pixels = answer(case, models[name], images)
        clipped = ((pixels < 0) | (pixels > 255)).mean()
        rounded = pixels.round().clip(0, 255).astype(np.uint8)
        answers |= {f"{name}.latents": latents, f"{name}.pixels": rounded}
        with tempfile.TemporaryDirectory() as folder:
            codec = latentstore.load_codec(foreign_checkpoints.write(Path(folder), name))
        ours, back = codec.encode(images), codec.decode(latents)
        near = np.abs(raw - np.floor(raw) - 0.5).min()
        print(
            f"{name}: latents from {latents.min()} to {latents.max()}, deviation {latents.std():.1f}, none nearer than "
            f"{near:.5f} to a half; {(ours != latents).sum()} of {latents.size} differ, by at most "
            f"{np.abs(ours.astype(int) - latents).max()}; pixels from {rounded.min()} to {rounded.max()}, deviation "
            f"{rounded.std():.1f}, {100 * clipped:.1f} % limited; differ by at most "
            f"{np.abs(back.astype(int) - rounded).max()}, in {100 * (back != rounded).mean():.3f} %"
        )
    np.savez_compressed(FOLDER / "answers.npz", **answers)


if __name__ == "__main__":
    main()
