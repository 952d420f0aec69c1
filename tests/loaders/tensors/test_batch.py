"""Batches of stores of tensors: shapes, types, the encoder's scale, variants, groups, resuming, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensor_stores import ENCODER, FIELDS, key, sample, write
from torch_or_skip import torch

import latentstore
from latentstore import ArgumentError, Encoder, Tensor, Writer
from latentstore.loaders import Augment, LatentLoader

COUNT = 50


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("tensors") / "x.store")
    write(url, range(COUNT), shard_bytes=4_000)
    return url


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Latents, and the same ones flipped as a second field."""
    url = str(tmp_path_factory.mktemp("tensors") / "y.store")
    with Writer(url, {"latent": Tensor("float16"), "flipped": Tensor("float16"), "label": int}) as writer:
        for n in range(COUNT):
            latent = sample(n)["latent"]
            writer.write(key(n), {"latent": latent, "flipped": latent[:, :, ::-1], "label": n})
    return url


def numbers(batch: dict[str, Any]) -> list[int]:
    return [int(name[-4:]) for name in batch["key"]]


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch(store: str, shuffle: Any, workers: int) -> None:
    seen = []
    for batch in LatentLoader(latentstore.open(store, fields=list(FIELDS)), 8, shuffle, num_workers=workers):
        which = numbers(batch)
        seen += which
        assert batch["latent"].dtype == torch.float16 and batch["latent"].shape == (len(which), 4, 8, 8)
        assert batch["tokens"].dtype == torch.int16
        assert isinstance(batch["text"], list) and batch["text"][0].dtype == torch.bfloat16
        for at, n in enumerate(which):
            own = sample(n)
            assert batch["latent"][at].numpy().tobytes() == own["latent"].tobytes()
            assert batch["text"][at].view(torch.int16).numpy().tobytes() == own["text"].tobytes()
            assert batch["label"][at] == own["label"] and batch["caption"][at] == own["caption"]
    assert sorted(seen) == list(range(COUNT)) and (seen == sorted(seen)) == (shuffle is False)


def test_shapes_are_grouped(store: str) -> None:
    seen = []
    for batch in LatentLoader(latentstore.open(store, fields=["text"]), 8, True, group_by="shape"):
        assert isinstance(batch["text"], torch.Tensor)
        assert len({n % 3 for n in numbers(batch)}) == 1
        seen += numbers(batch)
    assert sorted(seen) == list(range(COUNT))


def test_positions_are_bounded(store: str) -> None:
    for batch in LatentLoader(latentstore.open(store, fields=["text"]), max_positions=20, shuffle=True):
        assert batch["text"].shape[0] * batch["text"].shape[1] <= 20
    sizes = [len(b["key"]) for b in LatentLoader(latentstore.open(store, fields=["latent"]), max_positions=200)]
    assert sizes[0] == 3, "64 positions each, whatever the number of channels"
    with pytest.raises(ArgumentError, match="alone has 5 positions"):
        len(LatentLoader(latentstore.open(store, fields=["text"]), max_positions=4))


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_what_the_encoder_wants(store: str, dtype: torch.dtype | None) -> None:
    ds = latentstore.open(store, fields=["latent", "tokens"])
    batch = next(iter(LatentLoader(ds, 4, output="latents", dtype=dtype)))
    values = torch.from_numpy(np.stack([sample(n)["latent"] for n in range(4)]))
    assert ENCODER.scale == 2.0 and ENCODER.shift == 0.5
    expected = ((values.float() - 0.5) * 2.0).to(dtype or torch.float16)
    assert torch.equal(batch["latent"], expected) and batch["latent"].dtype == expected.dtype
    assert batch["tokens"].dtype == torch.int16, "tokens stay what they are"


def test_a_scale_for_each_channel(tmp_path: Path) -> None:
    encoder = Encoder("x", scale=(1.0, 2.0), shift=(0.0, 1.0))
    with Writer(tmp_path / "x", {"x": Tensor("float32", channel_axis=-1)}, encoder=encoder) as writer:
        writer.write("a", {"x": np.full((3, 2), 5, np.float32)})
        writer.write("b", {"x": np.full((4, 2), 5, np.float32)})
    batch = next(iter(LatentLoader(latentstore.open(tmp_path / "x", fields=["x"]), 2, output="latents")))
    assert [one[0].tolist() for one in batch["x"]] == [[5.0, 8.0], [5.0, 8.0]]


def test_a_choice_among_variants(flipped: str) -> None:
    ds = latentstore.open(flipped, fields=["latent", "flipped", "label"])
    variants = {"latent": ["latent", "flipped"]}

    def epoch(loader: LatentLoader) -> dict[int, bool]:
        found = {}
        for batch in loader:
            assert batch.keys() == {"latent", "label", "key"}
            for at, n in enumerate(numbers(batch)):
                plain = sample(n)["latent"]
                got = batch["latent"][at].numpy()
                found[n] = bool((got == plain[:, :, ::-1]).all())
                assert found[n] or (got == plain).all()
        return found

    loader = LatentLoader(ds, 7, True, seed=3, variants=variants)
    first, second = epoch(loader), epoch(loader)
    assert first != second and 10 < sum(first.values()) < 40
    assert epoch(LatentLoader(ds, 9, False, seed=3, num_workers=2, variants=variants)) == first, (
        "of seed, epoch, sample"
    )


@pytest.mark.parametrize("state_ranks", [(1, 3), (2, 1)])
def test_a_run_goes_on_with_other_ranks(store: str, state_ranks: tuple[int, int]) -> None:
    before, after = state_ranks
    ds = latentstore.open(store, fields=["latent"])
    seen: list[int] = []
    loaders = [LatentLoader(ds, 4, "block", rank=r, world_size=before) for r in range(before)]
    for loader in loaders:
        passed = iter(loader)
        for _ in range(2):
            seen += numbers(next(passed))
    state = loaders[0].state_dict()
    for rank in range(after):
        loader = LatentLoader(ds, 4, "block", rank=rank, world_size=after, drop_last=False)
        loader.load_state_dict(state)
        seen += [n for batch in loader for n in numbers(batch)]
    assert set(seen) == set(range(COUNT)) and len(seen) < COUNT + after


@pytest.mark.parametrize(("axis", "shape", "said"), [
    (0, (3, 4), "have 3 there"), (0, (), "have no such axis"), (1, (2,), "have no such axis"),
    (-2, (8,), "have no such axis"),  # which is not the axis of the samples of a batch
])  # fmt: skip
def test_a_scale_of_channels_that_are_not_there(tmp_path: Path, axis: int, shape: tuple[int, ...], said: str) -> None:
    fields = {"x": Tensor("float32", channel_axis=axis)}
    with Writer(tmp_path / "x", fields, encoder=Encoder("e", scale=(1, 2))) as writer:
        for number in range(4):
            writer.write(f"{number}", {"x": np.ones(shape, np.float32)})
    with pytest.raises(ArgumentError, match=f"field 'x': its encoder gives 2 numbers .* {said}"):
        next(iter(LatentLoader(latentstore.open(tmp_path / "x"), 2, output="latents")))


@pytest.mark.parametrize(("options", "said"), [
    ({"output": "pixels"}, "output is 'pixels'"),
    ({"dtype": torch.float32}, "only 'latents' take one"),
    ({"augment": Augment(flip=True)}, "augment is for latents of this package"),
    ({"decoder": "small"}, "decoder is for latents of this package"),
    ({"variants": {"latent": ["latent"]}}, "two or more different fields"),
    ({"variants": {"latent": ["latent", "nothing"]}}, "opened without a tensor field 'nothing'"),
    ({"variants": {"latent": ["latent", "text"]}}, "different types"),
    ({"variants": {"label": ["latent", "flipped"]}}, "stands for something else"),
    ({"variants": "latent"}, "variants is 'latent'; it is a dict"),
    ({"variants": {"latent": "latent"}}, "it is a dict such as"),
])  # fmt: skip
def test_what_cannot_be_meant(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    fields = {"latent": Tensor("float16"), "flipped": Tensor("float16"), "text": Tensor("int8"), "label": int}
    with Writer(tmp_path / "x", fields) as writer:
        latent = sample(0)["latent"]
        writer.write("a", {"latent": latent, "flipped": latent, "text": np.zeros(3, np.int8), "label": 1})
    with pytest.raises(ArgumentError, match=said):
        LatentLoader(latentstore.open(tmp_path / "x", fields=list(fields)), 2, **options)


def test_a_mixture(store: str, tmp_path: Path) -> None:
    write(tmp_path / "other.store", range(100, 130), shard_bytes=4_000)
    fields = ["latent", "text", "label"]
    parts = {
        latentstore.open(url, fields=fields): weight for url, weight in ((store, 0.5), (tmp_path / "other.store", 0.5))
    }
    seen: list[int] = []
    for batch in LatentLoader(latentstore.mix(parts, stop="longest"), 8, True, num_workers=1):
        which = numbers(batch)
        assert batch["store"].tolist() == [int(n >= 100) for n in which]
        assert isinstance(batch["text"], list), "tensors of several shapes are never padded"
        for at, n in enumerate(which):
            assert batch["latent"][at].numpy().tobytes() == sample(n)["latent"].tobytes()
            assert batch["text"][at].view(torch.int16).numpy().tobytes() == sample(n)["text"].tobytes()
            assert batch["label"][at] == sample(n)["label"]
        seen += which
    assert set(seen) == {*range(COUNT), *range(100, 130)}


def test_stores_that_do_not_mix(store: str, flipped: str) -> None:
    parts = {latentstore.open(url, fields=["latent"]): 1.0 for url in (store, flipped)}
    with pytest.raises(
        ArgumentError, match=r"has 'latent' of the encoder noise.*and .* of the encoder None.*'separate'"
    ):
        latentstore.mix(parts)
    for batch in LatentLoader(latentstore.mix(parts, batches="separate"), 8, True):
        assert len(set(batch["store"].tolist())) == 1
