"""The benchmark that trains networks on latents and on pixels: it runs, and its parts do what it says of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from linear_planes import linear_planes
from paths import ROOT
from PIL import Image

torch = pytest.importorskip("torch")

CLASSES = {"daisy": (200, 60, 60), "glass": (60, 60, 200)}


@pytest.fixture(scope="module")
def learning() -> Iterator[SimpleNamespace]:
    """The benchmark's modules; what they do to the environment is undone."""
    with mock.patch.dict(os.environ), mock.patch.object(sys, "path", [*sys.path, str(ROOT)]):
        from benchmarks.learning import images, inputs, networks, settings, training, views

        yield SimpleNamespace(
            images=images, inputs=inputs, networks=networks, settings=settings, training=training, views=views
        )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a colour for each class: 10 to train on, 4 to test."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for name, colour in CLASSES.items():
            place = folder / "classes" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(colour + rng.normal(0, 25, (160, 200, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


def run(learning: SimpleNamespace, *arguments: str) -> object:
    """The benchmark's exit status."""
    with mock.patch.object(sys, "argv", ["images", *arguments]), pytest.raises(SystemExit) as ended:
        learning.images.main()
    return ended.value.code


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_many_networks_is_that_of_each(learning: SimpleNamespace, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 8, 5, dtype=torch.float64, requires_grad=True)
    matrix = torch.randn(2, 45, 4, dtype=torch.float64, requires_grad=True)
    made = learning.networks.convolved(x, matrix, 3, stride)
    kernels = matrix.unflatten(1, (3, 3, 5)).permute(0, 4, 3, 1, 2)
    expected = torch.stack(
        [
            torch.nn.functional.conv2d(image.permute(0, 3, 1, 2), kernel, stride=stride, padding=1)
            for image, kernel in zip(x, kernels, strict=True)
        ]
    ).permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(made, expected)
    weight = torch.randn_like(made)
    ours = torch.autograd.grad((made * weight).sum(), (x, matrix))
    theirs = torch.autograd.grad((expected * weight).sum(), (x, matrix))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # that of x is added up in float32


def test_a_network_is_the_same_alone_and_among_others(learning: SimpleNamespace) -> None:
    networks = learning.networks.Networks([learning.networks.Layer(3, 8)], 2)
    x = torch.randn(1, 4, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    both = networks(x.expand(2, -1, -1, -1, -1), networks.start([1, 2]), learning.networks.Statistics())
    alone = networks(x, networks.start([2]), learning.networks.Statistics())
    torch.testing.assert_close(both[1:], alone)
    assert not torch.allclose(both[0], both[1])


@pytest.mark.parametrize("channels", [0, 12])
def test_views_are_cut_out_and_turned_exactly(learning: SimpleNamespace, channels: int) -> None:
    """As the codec turns a latent, and as NumPy turns pixels."""
    from latentstore.codecs.image.codec import ImageCodec
    from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
    from latentstore.codecs.load import load_codec

    codec = load_codec("rgb-f8c48")
    assert isinstance(codec, ImageCodec)
    one = learning.inputs.Input(128, channels, 0 if channels else 32)
    side, step = (20, 1) if channels else (40, 2)
    array = np.random.default_rng(0).integers(-99, 100, (2, side, side, one.depth)).astype(np.int8)
    views = learning.views.Views(
        one, array, np.ones(2, bool), learning.views.Dressing(unit=False), "cpu", torch.float32
    )
    top, left = 3, 1
    cut = array[1, top * step :, left * step :][: one.length, : one.length]
    for number, name in enumerate(SYMMETRIES):
        seen = views.drawn(torch.tensor([[1]]), torch.tensor([[[top, left]]]), torch.tensor([[number]]))[0, 0].numpy()
        if channels:
            turned = codec.transform(np.ascontiguousarray(cut.transpose(2, 0, 1)), name).transpose(1, 2, 0)
        else:
            turned = transform_image(cut, name)
        np.testing.assert_array_equal(seen, turned, err_msg=name)


def test_the_first_layer_begins_as_the_synthesis(learning: SimpleNamespace) -> None:
    from latentstore.codecs.load import load_codec

    one = learning.inputs.Input(128, 12)
    array = np.random.default_rng(0).integers(-20, 21, (2, 20, 20, 12)).astype(np.int8)
    setting = learning.settings.Setting("", "", one, learning.settings.PLAIN, "synthesis")
    views = learning.views.Views(one, array, np.ones(2, bool), setting.dressing, "cpu", torch.float32)
    networks = setting.networks(views, 2, 8)
    weights = networks.start([0])
    setting.begun(views)(weights)
    x = views.centred(torch.tensor([[0]])) + (views._shift * views._scale)  # without the mean that was taken away
    planes = torch.einsum("ebhwc,eco->ohw", x, weights[:, : 12 * 192].view(1, 12, 192))
    codec = load_codec("rgb-f8c48")
    expected = linear_planes(codec, array[0, 2:18, 2:18].transpose(2, 0, 1), codec.default_quality)
    np.testing.assert_allclose(planes.numpy(), expected, rtol=1e-3, atol=0.6)


def test_a_tiny_run_learns_and_writes_its_rows(learning: SimpleNamespace, photographs: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / "images.zip", tmp_path / "rows.json"
    learning.inputs.pack(photographs, packed, {"classes": (160, 95)})
    words = ["pixels 32 x 32, folded", "12 channels, magnitudes", "of 12 channels decoded"]
    arguments = ["--images", str(packed), "--data", "classes", "--epochs", "2", "--folds", "0", "--seeds", "2"]
    arguments += ["--processes", "1", "--json", str(out), "--only"]
    assert run(learning, *arguments, words[0]) in (0, 1)
    first = json.loads(out.read_text())
    assert run(learning, *arguments, *words) in (0, 1)
    assert json.loads(out.read_text())[: len(first)] == first  # they were not measured again
    rows: list[dict[str, Any]] = json.loads(out.read_text())
    assert {row["table"] for row in rows} == {"equal inputs", "what makes latents learn", "what the codec loses"}
    assert all(len(row["right"]) == 8 and set(row["groups"]) == {"flowers", "waste"} for row in rows)
    assert max(np.mean(row["accuracy"]) for row in rows) > 90
    assert {row["numbers"] for row in rows} == {3072, 12288, 49152}


def test_what_is_chosen_does_best_on_images_kept_apart(learning: SimpleNamespace, photographs: Path) -> None:
    data = learning.inputs.labelled(photographs, "classes")
    assert data.classes == ("daisy", "glass") and data.training.sum() == 20
    fold = data.fold(1)
    assert fold.sum() == 4 and not fold[~data.training].any() and len(set(data.labels[fold])) == 2
    one = learning.inputs.Input(128, 3)
    views = learning.views.Views(
        one, data.arrays([one], 1)[one], data.training, learning.settings.PLAIN, "cpu", torch.float32
    )
    setting = learning.settings.Setting("", "", one, learning.settings.PLAIN)

    def made(width: int) -> Any:
        return setting.networks(views, 2, width)

    choice, means = learning.training.tuned(
        made, setting.begun(views), views, data, learning.training.Plan(epochs=2, folds=1, seeds=1)
    )
    assert means["width"][learning.training.WIDTHS.index(choice.width)] == max(means["width"])
    assert means["rate"][learning.training.RATES.index(choice.rate)] == max(means["rate"])
