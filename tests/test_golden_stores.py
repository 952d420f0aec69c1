"""Stores that earlier releases wrote are read as they were written, in every layout.

They are made by golden/make_stores.py.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN

import latentstore
from latentstore.stores.verify import verify

VERSIONS = GOLDEN / "stores"
STORES = [
    f"{name}{end}"
    for name in ("one-size", "many-sizes", "windows", "recordings")
    for end in (".zarr", "-wds", "-versions")
]


@pytest.fixture(params=[f"v1/{name}" for name in STORES])
def golden(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any], list[np.ndarray]]:
    """A store, what it must give back, and its latents."""
    store = VERSIONS / request.param
    expected = json.loads((store.parent / "index.json").read_text("utf-8"))[store.name]
    with np.load(store.parent / "latents.npz") as arrays:
        return store, expected, [arrays[f"{expected['latents']}-{i}"] for i in range(4)]


@pytest.mark.parametrize("channels", [None, 3, 2])
def test_golden_stores_are_read(golden: Any, channels: int | None) -> None:
    store, expected, latents = golden
    ds = latentstore.open(store, channels=channels)
    assert (len(ds), ds.quality, ds.classes) == (4, expected["quality"], expected["classes"])
    assert ds.sizes().tolist() == expected["sizes"] and ds.modality.name == expected["modality"]
    for i, (key, fields) in enumerate(zip(expected["keys"], expected["fields"], strict=True)):
        sample = ds[i]
        np.testing.assert_array_equal(sample.pop("latent"), ds.modality.shaped(latents[i][:channels]))
        assert sample == {"key": key, **fields, "thumb": bytes.fromhex(fields["thumb"])}


def test_golden_stores_are_whole(golden: Any) -> None:
    assert verify(golden[0]).problems == []


def test_the_golden_store_of_latents_beside_tensors() -> None:
    store = VERSIONS / "v1" / "fields"
    expected = json.loads((store.parent / "index.json").read_text("utf-8"))["fields"]
    with np.load(store.parent / "fields.npz") as arrays:
        for channels in (None, 3):
            ds = latentstore.open(store, channels, fields=["image", "audio", "text", *expected["fields"][0]])
            assert ds.version == 2 and ds.keys() == expected["keys"]
            for i, fields in enumerate(expected["fields"]):
                sample = ds[i]
                for name in ("image", "audio"):
                    np.testing.assert_array_equal(sample.pop(name), arrays[f"{name}-{i}"][:channels])
                np.testing.assert_array_equal(sample.pop("text"), arrays[f"text-{i}"])
                assert sample == {"key": expected["keys"][i], **fields, "thumb": bytes.fromhex(fields["thumb"])}
    for name, sizes in expected["sizes"].items():
        assert ds.latents[name].sizes().tolist() == sizes and ds.latents[name].quality == expected["quality"]
    assert ds.latents["audio"].fields()["step"].tolist() == expected["steps"]
    assert verify(str(store)).problems == []


@pytest.mark.parametrize("name", ["one-size", "windows"])
def test_plain_zarr_reads_the_golden_latents(name: str) -> None:
    zarr = pytest.importorskip("zarr")
    store = VERSIONS / "v1" / f"{name}.zarr"
    latentstore.open(store)  # makes the artifact known, which is not one of those shipped
    group = zarr.open_group(store, mode="r")
    with np.load(store.parent / "latents.npz") as arrays:
        np.testing.assert_array_equal(group["latent"][:], [arrays[f"{name}-{i}"] for i in range(4)])
