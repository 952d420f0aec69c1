"""Files that are not what they claim: one sentence each, nothing run, no memory taken by their word."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import foreign_checkpoints
import numpy as np
import pytest

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, ArtifactError, LatentstoreError

torch = foreign_checkpoints.torch

State = dict[str, Any]


class _Runs:
    """Would make a folder if it were unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def refused(name: str, message: str, kind: type[LatentstoreError] = ArtifactError) -> None:
    with pytest.raises(kind, match=message) as caught:
        latentstore.load_codec(name)
    text = str(caught.value)
    assert len(text) < 600
    assert text.endswith(".")
    assert "\n" not in text


def changed(tmp_path: Path, case: str, change: Callable[[State], None]) -> str:
    """A checkpoint whose contents a function changed before they were written."""
    name = foreign_checkpoints.write(tmp_path, case)
    path = tmp_path / f"{case}.pth"
    with torch.serialization.safe_globals([SimpleNamespace]):
        content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return name


# what a pickle asks for


def test_a_pickle_that_asks_for_more_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    name = changed(tmp_path, "linear", lambda content: content.update(more=_Runs(folder)))
    refused(name, r"asks for posix.mkdir.*nothing of it was run")
    assert not folder.exists()


@pytest.mark.parametrize(
    "call",
    [(bytearray, 1 << 40), (torch.Tensor, 1 << 30, 1 << 10), (set, range(9))],
)
def test_a_pickle_that_asks_for_memory_is_refused(call: tuple[Any, ...], tmp_path: Path) -> None:
    class Asks:
        def __reduce__(self) -> tuple[Any, ...]:
            return call[0], call[1:]

    refused(changed(tmp_path, "light", lambda content: content.update(more=Asks())), "asks for")


def test_another_class_than_the_configuration_is_refused(tmp_path: Path) -> None:
    name = changed(tmp_path, "light", lambda content: content.update(config=pytest.approx(1)))
    refused(name, "asks for _pytest")


def test_newer_pickles_which_torch_does_not_write_are_refused(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "light")
    replaced(tmp_path / "light.pth", "data.pkl", pickle.dumps(SimpleNamespace(F=4), protocol=4))
    refused(name, "asks for STACK_GLOBAL")


def test_numbers_of_numpy_in_a_log_are_passed_over(tmp_path: Path) -> None:
    name = changed(tmp_path, "light", lambda content: content.update(log=[np.float64(0.5), np.float32(2)]))
    assert latentstore.load_codec(name).channels == 12
    assert SimpleNamespace not in torch.serialization.get_safe_globals()


# files


def replaced(path: Path, part: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Replaces a part of a checkpoint, whose name ends so."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, old in parts.items():
            archive.writestr(name, content if name.endswith(part) else old)


def test_missing_files_are_said(tmp_path: Path) -> None:
    refused(f"livecodec:{tmp_path}/none.pth", "There is no checkpoint", ArgumentError)
    refused(f"walloc:{tmp_path}/none.pth", "There is no .*none.json", ArgumentError)
    name = foreign_checkpoints.write(tmp_path, "linear")
    (tmp_path / "linear.json").unlink()
    refused(name, "There is no .*linear.json: the configuration", ArgumentError)
    refused("livecodec:https://example.org/a.pth", "download it first", ArgumentError)
    refused(f"livecodec:{tmp_path}", "is not a checkpoint|cannot be read")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}.", b"not a checkpoint" * 99])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    refused(f"livecodec:{tmp_path}/x.pth", "is not a checkpoint that torch.save wrote")


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "light")
    whole = (tmp_path / "light.pth").read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        (tmp_path / "light.pth").write_bytes(whole[:length])
        refused(name, "is not a checkpoint that torch.save wrote")


def test_changed_bytes_raise_nothing_else(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "heavy")
    with zipfile.ZipFile(tmp_path / "heavy.pth") as archive:
        part = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(part)
    random = np.random.default_rng(3)
    for _ in range(60):
        broken = bytearray(content)
        broken[random.integers(len(content))] = random.integers(256)
        replaced(tmp_path / "heavy.pth", "data.pkl", bytes(broken))
        try:
            latentstore.load_codec(name)
        except LatentstoreError as error:
            assert len(str(error)) < 600


def test_compressed_parts_are_refused(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "light")
    replaced(tmp_path / "light.pth", "data/0", bytes(1 << 20), zipfile.ZIP_DEFLATED)
    refused(name, "compressed parts")


def test_weights_that_claim_more_bytes_than_there_are_are_refused(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "light")
    for part in ("data/0", "data/5"):
        with zipfile.ZipFile(tmp_path / "light.pth") as archive:
            whole = archive.read(next(name for name in archive.namelist() if name.endswith(part)))
        replaced(tmp_path / "light.pth", part, whole[: len(whole) // 2])
        refused(name, "is not a checkpoint|claim more bytes|claims more numbers")
        replaced(tmp_path / "light.pth", part, whole)
    assert latentstore.load_codec(name).channels == 12


def test_two_threads_load_at_once(tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "light")
    with ThreadPoolExecutor(4) as pool:
        assert {codec.sha256 for codec in pool.map(latentstore.load_codec, [name] * 12)} == {
            latentstore.load_codec(name).sha256
        }


def test_parameters_and_half_precision_are_weights_too(tmp_path: Path) -> None:
    def change(content: State) -> None:
        weights = content["state_dict"]
        content["state_dict"] = {name: torch.nn.Parameter(tensor.half()) for name, tensor in weights.items()}

    codec = latentstore.load_codec(changed(tmp_path, "heavy", change))
    assert codec.decode(np.zeros((1, 8, 2, 2), np.int8)).shape == (1, 16, 16, 1)


# configurations and weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"J": 30}, "J is 30, not a whole number from 1 to 6"),
        ({"J": 4}, "has the shape"),
        ({"J": True}, "J is True"),
        ({"channels": None}, "channels is None"),
        ({"latent_dim": 10**9}, "latent_dim is 1000000000"),
        ({"latent_bits": 12}, "latent_bits is 12, not 2 to 8"),
        ({"Nd": 33}, "contradicts itself"),
        ({"lightweight_encode": 1}, "neither true nor false"),
        ({"lightweight_encode": False}, "it lacks 'encoder.0.conv_in.bias'"),
        ({"post_filter": True}, "codec of audio"),
    ],
)
def test_a_walloc_configuration_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(foreign_checkpoints.write(tmp_path, "linear", **changes), message)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20)])
def test_a_walloc_configuration_that_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    name = foreign_checkpoints.write(tmp_path, "linear")
    (tmp_path / "linear.json").write_bytes(content)
    refused(name, "linear.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"F": 1 << 40}, "F is 1099511627776"),
        ({"F": 3}, "F is 3, not a power of two"),
        ({"F": 8}, "has the shape|contradicts itself|lacks"),
        ({"F": [4]}, r"F is \[4\]"),
        ({"F": torch.ones(3)}, "F is tensor"),
        ({"F": 4.0}, "F is 4.0"),
        ({"latent_dim": -1}, "latent_dim is -1"),
        ({"latent_dim": 16}, "has the shape"),
        ({"input_channels": "3"}, "input_channels is '3'"),
        ({"lightweight_decode": None}, "decoder_blocks are lightweight is None"),
        ({"lightweight_decode": True}, "it lacks"),
    ],
)
def test_a_livecodec_configuration_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(foreign_checkpoints.write(tmp_path, "light", **changes), message)


def with_weight(name: str, tensor: Any) -> Callable[[State], None]:
    def change(content: State) -> None:
        content["state_dict"][name] = tensor

    return change


SIGMA = "quantize.compand.sigma"
ENCODER = "encoder_blocks.0.conv1.conv1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_weight(SIGMA, torch.full((12,), float("nan"))), "'quantize.compand.sigma' holds numbers that are not"),
        (with_weight(SIGMA, torch.full((12,), float("inf"))), "'quantize.compand.sigma' holds numbers that are not"),
        (with_weight(SIGMA, torch.zeros(13)), "has the shape"),
        (with_weight(SIGMA, torch.zeros(1).expand(12)), "claims more numbers than the file holds"),
        (with_weight(SIGMA, [1.0] * 12), "is no tensor but list"),
        (with_weight("more", torch.zeros(2)), "it has besides 'more'"),
        (with_weight("encoder_blocks.99.x", torch.zeros(2)), "has 100 encoder_blocks"),
        (with_weight(ENCODER, torch.zeros(2, 3)), "has the shape"),
        (with_weight("wt.h0_col", torch.zeros(1, 1, 10, 1)), "another one than bior4.4"),
        (lambda content: content["state_dict"].pop(SIGMA), "it lacks 'quantize.compand.sigma'"),
        (lambda content: content.pop("config"), "holds no configuration"),
        (lambda content: content.update(config={"F": 4}), "holds no configuration"),
        (lambda content: content.update(state_dict=OrderedDict()), "holds no weights"),
        (lambda content: content.update(state_dict=5), "holds no weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Callable[[State], None], message: str, tmp_path: Path) -> None:
    refused(changed(tmp_path, "light", change), message)


def test_weights_that_give_no_numbers_are_said(tmp_path: Path) -> None:
    def huge(content: State) -> None:
        content["model_state_dict"]["encoder.0.weight"].fill_(3e38)
        content["model_state_dict"]["decoder.1.conv_out.weight"].fill_(3e38)

    codec = latentstore.load_codec(changed(tmp_path, "linear", huge))
    with pytest.raises(ArtifactError, match="not finite"):
        codec.decode(np.full((1, 12, 4, 4), 9, np.int8))


# stores


def test_convert_and_evaluate_say_that_no_store_has_such_latents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    name = f"walloc:{tmp_path}/RGB_16x.pth"
    assert main(["convert", str(tmp_path / "images"), str(tmp_path / "out.zarr"), "--codec", name]) == 2
    assert "a store needs an artifact with an entropy coder" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "images"), "--codec", name]) == 2
    assert "a store needs an artifact with an entropy coder" in capsys.readouterr().err
