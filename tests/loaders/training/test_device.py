"""Batches on their way to a device: what this machine can show, and what is asked of one with a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from memory_store import Memory, keys
from torch_or_skip import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.loaders import LatentLoader, as_dataloader
from latentstore.loaders.training import device as device_module
from latentstore.loaders.training.device import Delivery, mapped


def test_a_device_without_memory_of_its_own() -> None:
    plain = LatentLoader(Memory(9, 5), 4, True, seed=1)
    for given in (
        LatentLoader(Memory(9, 5), 4, True, seed=1, num_workers=2, device="meta"),
        as_dataloader(LatentLoader(Memory(9, 5), 4, True, seed=1, device=torch.device("meta"))),
    ):
        batches = list(given)
        assert keys(batches) == keys(plain)
        plain.set_epoch(0)
        assert all(batch["latent"].is_meta and batch["label"].is_meta for batch in batches)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("options", [{"device": "cuda"}, {"device": "cuda:1"}, {"pin_memory": True}])
def test_what_this_machine_does_not_have_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="torch finds no CUDA device"):
        LatentLoader(Memory(4), 2, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "'gpu', which torch does not know"),
        ({"device": 1.5}, "1.5, which torch does not know"),
        ({"augment": "flip"}, "augment is 'flip'; it is an Augment"),
        ({"collate": 3}, "collate is 3; it is a function"),
        ({"pin_memory": 1}, "pin_memory is 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        LatentLoader(Memory(4), 2, **options)


def test_all_tensors_of_a_batch_are_changed() -> None:
    one = torch.ones(2)
    found = mapped(lambda tensor: tensor + 1, {"a": [one, {"b": (one, "c")}], "key": ["x", "y"], "n": 3})
    assert torch.equal(found["a"][0], one + 1) and torch.equal(found["a"][1]["b"][0], one + 1)
    assert found["key"] == ["x", "y"] and found["a"][1]["b"][1] == "c" and found["n"] == 3


class FakeCuda:
    """Stands in for torch.cuda, and notes in which order it is asked."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def Stream(self, device: Any) -> Any:  # noqa: N802
        return SimpleNamespace(record_event=lambda: self.told.append("copied") or "event")

    def stream(self, side: Any) -> Any:
        return torch.no_grad()

    def current_stream(self, device: Any) -> Any:
        return SimpleNamespace(wait_event=lambda event: self.told.append("waited"))

    def is_available(self) -> bool:
        return True


def test_a_batch_is_copied_before_the_one_before_it_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of calls alone; a GPU has to show the rest."""
    cuda = FakeCuda()
    monkeypatch.setattr(device_module.torch, "cuda", cuda)
    monkeypatch.setattr(device_module, "_used_on", lambda tensor, stream: tensor)
    delivery = Delivery(False, "cuda")
    assert delivery.pins
    closed = []

    def made() -> Any:
        try:
            for number in range(3):
                yield number, {"latent": "no tensor"}
        finally:
            closed.append(True)

    for number, _ in delivery.deliver(made()):
        cuda.told.append(f"out {number}")
    assert cuda.told == ["copied", "copied", "waited", "out 0", "copied", "waited", "out 1", "waited", "out 2"]
    assert closed == [True]


def test_a_hook_takes_the_place_of_the_batch() -> None:
    loader = LatentLoader(Memory(9), 4, collate=lambda batch: (batch["latent"], batch["label"] + 1), num_workers=2)
    assert [labels.tolist() for _, labels in loader] == [[1, 2, 3, 4], [5, 1, 2, 3], [4]]
    state = loader.state_dict()
    assert state["epoch"] == 1
