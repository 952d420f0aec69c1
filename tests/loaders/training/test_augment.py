"""Random changes of latents: what they do to images, that they repeat, that they are spread evenly, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_made import chirp, write
from drawn_images import drawn
from PIL import Image
from torch_or_skip import torch

import latentstore
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.symmetry import SYMMETRIES, transform_image
from latentstore.loaders import Augment, LatentLoader
from latentstore.loaders.epoch.order import draws

COUNT, SIDE = 40, 64


def image(number: int) -> np.ndarray:
    """One of the photographs of the test's data set, uint8 (64, 64, 3)."""
    return drawn("photo", SIDE, SIDE, 3, number)


def store_of(folder: Path, images: list[np.ndarray], **options: Any) -> Any:
    (folder / "in").mkdir(parents=True)
    for number, one in enumerate(images):
        Image.fromarray(np.ascontiguousarray(one)).save(folder / "in" / f"{number:03d}.png")
    latentstore.convert(folder / "in", folder / "out.zarr", progress=False, effort="fast", **options)
    return folder / "out.zarr"


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COUNT square images, encoded with effort "fast"."""
    return store_of(tmp_path_factory.mktemp("square"), [image(number) for number in range(COUNT)], size=SIDE)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of many sizes, multiples of 8."""
    sides = [(48 + 8 * (number % 4), 40 + 8 * (number % 3)) for number in range(12)]
    images = [drawn("photo", height, width, 3, number) for number, (height, width) in enumerate(sides)]
    return store_of(tmp_path_factory.mktemp("many"), images, size="native")


def all_of(loader: Any, name: str = "latent") -> Any:
    return torch.cat([batch[name] for batch in loader])


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_model_gets_what_it_would_get_of_changed_images(symmetry: str, square: Path, tmp_path: Path) -> None:
    """Bit for bit: latents that the loader changed, and a store of the changed images."""
    turned = latentstore.open(
        store_of(tmp_path, [transform_image(image(number), symmetry) for number in range(COUNT)], size=SIDE)
    )
    found = 0
    for batch in LatentLoader(latentstore.open(square), 16, True, 3, augment=Augment(flip=True, turn=True)):
        for latent, key, number in zip(batch["latent"], batch["key"], batch["symmetry"].tolist(), strict=True):
            if SYMMETRIES[number] == symmetry:
                assert np.array_equal(latent, turned[turned.keys().index(key)]["latent"])
                found += 1
    assert found


def test_normalised_latents_are_those_of_changed_codes(square: Path) -> None:
    """A mean is subtracted after the change: values of odd channels change their sign before."""
    ds = latentstore.open(square, channels=12)
    options: dict[str, Any] = {"augment": Augment(flip=True, turn=True), "seed": 5}
    codes, values = (all_of(LatentLoader(ds, 16, output=output, **options)) for output in ("codes", "latents"))
    scale, spread = ds.codec.scale(ds.quality)[:12], np.where(ds.stats.std > 0, ds.stats.std, 1)
    expected = (codes.numpy() * scale[:, None, None] - ds.stats.mean[:, None, None]) / spread[:, None, None]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)


def test_pixels_are_the_changed_pixels(square: Path) -> None:
    ds = latentstore.open(square, channels=12)
    plain = all_of(LatentLoader(ds, 16, output="pixels"), "pixels").permute(0, 2, 3, 1).numpy()
    loader = LatentLoader(ds, 16, output="pixels", augment=Augment(flip=True, turn=True))
    changed = all_of(loader, "pixels").permute(0, 2, 3, 1).numpy()
    loader.set_epoch(0)
    numbers = all_of(loader, "symmetry").tolist()
    for one, other, number in zip(plain, changed, numbers, strict=True):
        assert np.array_equal(transform_image(one, SYMMETRIES[number]), other)


def test_windows_are_cut_before_turns(square: Path) -> None:
    ds = latentstore.open(square)
    for batch in LatentLoader(ds, 16, True, augment=Augment(flip=True, turn=True, crop=(5, 5))):
        assert batch["latent"].shape[1:] == (48, 5, 5)
        rows = zip(batch["latent"], batch["key"], batch["corner"].tolist(), batch["symmetry"].tolist(), strict=True)
        for latent, key, (top, left), number in rows:
            whole = ds[ds.keys().index(key)]["latent"][:, top : top + 5, left : left + 5]
            assert np.array_equal(ds.codec.transform(whole, SYMMETRIES[number]), latent)


@pytest.mark.parametrize("output", ["codes", "latents", "pixels"])
def test_images_of_many_sizes(many: Path, output: str) -> None:
    """Windows make them one tensor; without, each keeps a shape of its own, which a quarter turn exchanges."""
    ds, name = latentstore.open(many, channels=12), "pixels" if output == "pixels" else "latent"
    (batch,) = LatentLoader(ds, 12, output=output, augment=Augment(turn=True))
    for one, number, (height, width) in zip(batch[name], batch["symmetry"].tolist(), ds.sizes().tolist(), strict=True):
        sides = (width, height) if SYMMETRIES[number] in ("rot90", "rot270") else (height, width)
        assert tuple(one.shape[1:]) == (sides if output == "pixels" else tuple(side // 8 for side in sides))
    (batch,) = LatentLoader(ds, 12, output=output, augment=Augment(flip=True, crop=(6, 4)))
    assert batch[name].shape == ((12, 3, 48, 32) if output == "pixels" else (12, 12, 6, 4))
    with pytest.raises(ArgumentError, match="has 6 x 5: give a smaller crop"):
        next(iter(LatentLoader(ds, 12, augment=Augment(crop=(7, 5)))))


def test_a_prefix_of_channels(square: Path) -> None:
    ds = latentstore.open(square)
    for output in ("codes", "latents"):
        plain = all_of(LatentLoader(ds, 16, output=output))
        loader = LatentLoader(ds, 16, output=output, augment=Augment(channels=(3, 48)))
        batches = list(loader)
        kept = torch.cat([batch["channels"] for batch in batches])
        assert 3 <= kept.min() < 12 and 36 < kept.max() <= 48
        for one, other, count in zip(plain, torch.cat([b["latent"] for b in batches]), kept.tolist(), strict=True):
            assert torch.equal(one[:count], other[:count]) and not other[count:].any()


@pytest.mark.parametrize("workers", [0, 3])
def test_changes_go_with_seed_epoch_and_sample_alone(square: Path, workers: int) -> None:
    ds = latentstore.open(square, channels=12)
    augment = Augment(flip=True, turn=True, crop=(6, 6), channels=(1, 12))

    def by_key(loader: Any, passes: int = 1) -> list[dict[str, bytes]]:
        made = []
        for _ in range(passes):
            batches = [batch for batch in loader for batch in zip(batch["key"], batch["latent"], strict=True)]
            made.append({key: latent.numpy().tobytes() for key, latent in batches})
        return made

    first = by_key(LatentLoader(ds, 16, True, 7, augment=augment), 2)
    again = by_key(LatentLoader(ds, 5, True, 7, workers, augment=augment), 2)
    assert first == again and first[0] != first[1]
    ranks = [by_key(LatentLoader(ds, 8, True, 7, augment=augment, rank=r, world_size=2))[0] for r in range(2)]
    assert {**ranks[0], **ranks[1]} == first[0]
    assert by_key(LatentLoader(ds, 16, True, 8, augment=augment))[0] != first[0]
    loader = LatentLoader(ds, 16, True, 7, workers, augment=augment)
    begun = iter(loader)
    seen = [next(begun), next(begun)]
    other = LatentLoader(ds, 4, True, 7, augment=augment)
    other.load_state_dict(loader.state_dict())
    rest = by_key(other)[0]
    assert {k for batch in seen for k in batch["key"]} | set(rest) == set(first[0])
    assert all(first[0][key] == value for key, value in rest.items())


def test_draws_are_spread_evenly() -> None:
    """All eight symmetries, every place of a window, every number of channels; neighbours and epochs differ."""
    n = 80_000
    bits = draws(np.arange(n), 101, 0, 0)
    counts = np.bincount((bits >> np.uint64(61)).astype(int), minlength=8)
    assert (np.abs(counts - n / 8) < 5 * (n / 8) ** 0.5).all()
    others = [draws(np.arange(n), 101, 0, 1), draws(np.arange(n), 102, 0, 0), draws(np.arange(n), 101, 1, 0)]
    for other in [*others, np.roll(bits, 1)]:
        same = (bits >> np.uint64(61)) == (other >> np.uint64(61))
        assert abs(same.mean() - 1 / 8) < 0.006
    assert len(np.unique(bits)) == n


@pytest.mark.parametrize("turned", [{"flip": True}, {"flip": "both"}, {"turn": True}, {"flip": True, "turn": True}])
def test_what_each_option_does(square: Path, turned: dict[str, Any]) -> None:
    ds = latentstore.open(square, channels=3)
    loader = LatentLoader(ds, 40, augment=Augment(**turned))
    found = {SYMMETRIES[number] for _ in range(6) for number in all_of(loader, "symmetry").tolist()}
    expected = {
        "flip": {"identity", "flip_h"}, "both": {"identity", "flip_h", "flip_v", "rot180"},
        "turn": {"identity", "rot90", "rot180", "rot270"}, "all": set(SYMMETRIES),
    }  # fmt: skip
    assert (
        found == expected["all" if len(turned) == 2 else "both" if turned.get("flip") == "both" else next(iter(turned))]
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32, torch.bfloat16])
def test_it_works_on_its_own_on_tensors_of_any_kind(square: Path, dtype: Any) -> None:
    """The way of a GPU, on this machine: floats take it, and int8 takes the other one."""
    ds = latentstore.open(square, channels=12)
    indices = np.arange(COUNT)
    codes = torch.from_numpy(ds.read_latents(indices))
    augmentation = Augment(flip=True, turn=True, crop=(7, 7), channels=(2, 12)).on(ds, seed=4)
    found = augmentation({"latent": codes.to(dtype), "key": ds.keys()}, indices, epoch=2)
    loader = LatentLoader(ds, COUNT, seed=4, augment=Augment(flip=True, turn=True, crop=(7, 7), channels=(2, 12)))
    loader.set_epoch(2)
    (expected,) = loader
    assert torch.equal(found["latent"].to(torch.int8), expected["latent"]) and found["key"] == expected["key"]
    for name in ("symmetry", "corner", "channels"):
        assert torch.equal(found[name], expected[name])
    assert torch.equal(codes, torch.from_numpy(ds.read_latents(indices)))
    which, symmetries = np.arange(8), augmentation._symmetries
    assert symmetries is not None
    assert torch.equal(symmetries.on_device(codes[:8], which), symmetries(codes[:8], which))


def test_what_is_refused(square: Path, many: Path, tmp_path: Path) -> None:
    ds = latentstore.open(square)
    pair = next(k for k in range(1, 48) if ds.codec.classes[k - 1] == 4)
    for options, said in [
        ({}, "changes nothing"),
        ({"flip": "up"}, "'up'"),
        ({"crop": (3,)}, r"\(height, width\)"),
        ({"crop": 0}, "crop is 0"),
        ({"crop": 4, "seconds": 1.0}, "one of them"),
        ({"seconds": -1.0}, "more than 0"),
        ({"seconds": "1"}, "more than 0"),
        ({"channels": (4, 3)}, "4 or more"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            Augment(**options)  # type: ignore[arg-type]
    for options, said in [
        ({"crop": (9, 4)}, "have 8 x 8"),
        ({"crop": (4, 3), "turn": True}, "4 x 3"),
        ({"crop": 4}, r"\(height, width\)"),
        ({"seconds": 1.0}, "holds images"),
        ({"channels": (1, 49)}, "opened with 48"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            LatentLoader(ds, 4, augment=Augment(**options))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=rf"Use {pair - 1} or {pair + 1} channels"):
        LatentLoader(latentstore.open(square, channels=pair), 4, augment=Augment(turn=True))
    LatentLoader(latentstore.open(square, channels=pair), 4, augment=Augment(flip="both"))
    clips = write(tmp_path / "clips", **{f"c{i}": (chirp(i, 900), 8000) for i in range(3)})
    latentstore.convert(clips, tmp_path / "audio.zarr", progress=False)
    audio = latentstore.open(tmp_path / "audio.zarr")
    for options, said in [
        ({"flip": True}, "mono-f32c32 is a codec of recordings: its latents cannot be flipped"),
        ({"turn": True}, "cannot be flipped or turned"),
        ({"crop": (2, 2)}, "holds audio"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            LatentLoader(audio, 2, augment=Augment(**options))  # type: ignore[arg-type]


def test_a_field_cannot_have_the_name_of_an_entry(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("key,corner\n" + "".join(f"{i:03d},{i}\n" for i in range(3)))
    url = store_of(tmp_path / "x", [image(i) for i in range(3)], size=SIDE, labels=str(tmp_path / "labels.csv"))
    ds = latentstore.open(url)
    assert LatentLoader(ds, 3)
    with pytest.raises(ArgumentError, match="'corner'"):
        LatentLoader(ds, 3, augment=Augment(crop=(4, 4)))
