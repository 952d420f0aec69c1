"""Latents beside tensors in one store: samples, prefixes, some fields only, decoding, batches, mixtures."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from mixed_stores import HEARD, IMAGES, QUALITY, RECORDINGS, image, latent, recording, text, write
from torch_or_skip import torch

import latentstore
from latentstore import ArgumentError, CorruptError, Tensor, Writer
from latentstore.loaders import Augment, LatentLoader
from latentstore.loaders.manifest import seal
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.training.dataloader import as_dataloader

COUNT = 24


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of one size."""
    url = str(tmp_path_factory.mktemp("mixed") / "x.store")
    write(url, range(COUNT // 2))
    write(url, range(COUNT // 2, COUNT), resume=True)
    return url


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of two sizes, and recordings of three lengths."""
    url = str(tmp_path_factory.mktemp("mixed") / "y.store")
    write(url, range(COUNT // 2), HEARD)
    write(url, range(COUNT // 2, COUNT), HEARD, side=48, resume=True)
    return url


def side(number: int) -> int:
    return 32 if number < COUNT // 2 else 48


def opened(url: str, **options: Any) -> TensorDataset:
    ds = latentstore.open(url, **options)
    assert isinstance(ds, TensorDataset)
    return ds


def numbers(batch: dict[str, Any]) -> list[int]:
    return [int(key) for key in batch["key"]]


def test_every_sample_comes_back(store: str) -> None:
    ds = opened(store)
    assert len(ds) == COUNT and len(ds.shard_starts) == 3 and list(ds.latents) == ["image"]
    for number in range(COUNT):
        found = ds[number]
        assert found.keys() == {"key", "image", "text", "label"} and found["label"] == number
        assert found["image"].dtype == np.int8
        np.testing.assert_array_equal(found["image"], latent(number))
        assert found["text"].tobytes() == text(number).tobytes()
    read = ds.read(np.array([20, 3]))
    assert list(read) == ["text", "image"]
    np.testing.assert_array_equal(read["image"], [latent(20), latent(3)])


def test_the_field_is_what_a_store_of_latents_is(store: str) -> None:
    own = opened(store).latents["image"]
    assert (own.quality, own.size, own.codec.sha256) == (QUALITY, (32, 40), IMAGES.sha256)
    codes = np.stack([latent(number) for number in range(COUNT)])
    values = codes * IMAGES.scale(QUALITY)[:, None, None]
    np.testing.assert_allclose(own.stats.mean, values.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(own.stats.std, values.std((0, 2, 3)), rtol=1e-5)
    again = pickle.loads(pickle.dumps(own))
    again.load_shards([0])
    np.testing.assert_array_equal(again.read_latents(np.array([5, 17])), codes[[5, 17]])


def test_it_is_decoded(store: str, heard: str) -> None:
    ds = opened(store)
    signal = ds.decode(ds[4]["image"][None], (32, 40), decoder="linear")
    np.testing.assert_array_equal(signal, IMAGES.decode(latent(4)[None], quality=QUALITY, decoder="linear"))
    audio = opened(heard, fields=["audio"])
    own = audio.latents["audio"]
    for number in (0, 1, COUNT - 1):
        steps = own.step_codes(own.fields(np.array([number])))
        found = audio.decode(audio[number]["audio"][None, :, None], (1, len(recording(number))), steps)[0]
        np.testing.assert_array_equal(found, RECORDINGS.decompress(RECORDINGS.compress(recording(number))))
    with pytest.raises(ArgumentError, match=r"the fields of latents audio, image: decode with ds.latents\[NAME\]"):
        opened(heard).decode(latent(4)[None], (32, 40))


@pytest.mark.parametrize("channels", [1, 12, 13, 48])
def test_a_prefix_of_channels(store: str, channels: int) -> None:
    ds = opened(store, channels=channels, fields=["image"])
    np.testing.assert_array_equal(ds[7]["image"], latent(7)[:channels])
    groups = -(-channels // IMAGES.group_channels)
    shards = ds.reader.meta.shards
    assert ds.shard_bytes([0, 1]) == [sum(shard.fields[1 : 1 + groups]) for shard in shards]
    for wrong in (0, 49, "x"):
        with pytest.raises(ArgumentError, match="has 1 to 48"):
            latentstore.open(store, channels=wrong)  # type: ignore[call-overload]


def test_bytes_of_other_fields_are_not_fetched(store: str, asked: list[Any]) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(store, "/mixed-some", recursive=True)
    try:
        for fields, channels, parts in ((["text"], None, [0]), (["image"], 12, [1]), (["label"], None, [])):
            ds = latentstore.open("memory://mixed-some", channels if "image" in fields else None, fields=fields)
            ds[0], ds[COUNT - 1]
            asked.clear()
            ds.read(np.arange(COUNT))
            got = sum(end - begin for name, begin, end in asked if "shards/" in name)
            assert got == sum(shard.fields[part] for shard in ds.reader.meta.shards for part in parts)
        names = [name for name, _, _ in asked if "coders" in name]
        assert not names, "what nobody asks for is not decoded, so its artifact is not read"
        with pytest.raises(ArgumentError, match="is opened with none"):
            latentstore.open("memory://mixed-some", 12, fields=["text"])
    finally:
        memory.rm("/mixed-some", recursive=True)


@pytest.mark.parametrize("shuffle", [False, True, "block"])
@pytest.mark.parametrize("workers", [0, 2])
def test_both_in_one_batch(store: str, shuffle: Any, workers: int) -> None:
    seen = []
    for batch in LatentLoader(opened(store, channels=12), 7, shuffle, num_workers=workers):
        which = numbers(batch)
        seen += which
        assert batch["image"].dtype == torch.int8 and batch["label"].tolist() == which
        np.testing.assert_array_equal(batch["image"], [latent(number)[:12] for number in which])
        for number, one in zip(which, batch["text"], strict=True):
            assert one.numpy().tobytes() == text(number).tobytes()
    assert sorted(seen) == list(range(COUNT))


def test_batches_of_a_remote_store(store: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(store, "/mixed-remote", recursive=True)
    try:
        for shuffle in (True, "block"):
            seen = []
            for batch in LatentLoader(opened("memory://mixed-remote"), 5, shuffle, num_workers=2):
                seen += numbers(batch)
                np.testing.assert_array_equal(batch["image"], [latent(number) for number in numbers(batch)])
                for number, one in zip(numbers(batch), batch["text"], strict=True):
                    assert one.numpy().tobytes() == text(number).tobytes()
            assert sorted(seen) == list(range(COUNT))
    finally:
        memory.rm("/mixed-remote", recursive=True)


def test_outputs(store: str) -> None:
    ds = opened(store)
    values = torch.cat([batch["image"] for batch in LatentLoader(ds, 8, output="latents", dtype=torch.float32)])
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(48), atol=1e-4, rtol=0)
    batch = next(iter(LatentLoader(ds, 3, output="pixels")))
    assert batch["image"].shape == (3, 3, 32, 40) and batch["image"].dtype == torch.uint8
    expected = IMAGES.decode(np.stack([latent(n) for n in range(3)]), quality=QUALITY, decoder="linear")
    np.testing.assert_array_equal(batch["image"].permute(0, 2, 3, 1), expected)
    assert [one.dtype for one in batch["text"]] == [torch.float16] * 3
    with pytest.raises(ArgumentError, match="it is one of codes, latents, pixels"):
        LatentLoader(ds, 3, output="waveforms")


def test_random_changes_are_of_the_latents(store: str) -> None:
    loader = LatentLoader(opened(store), COUNT, augment=Augment(flip=True, channels=(4, 48)), seed=3)
    batch = next(iter(loader))
    flips = set()
    for at, number in enumerate(numbers(batch)):
        flips.add(int(batch["symmetry"][at]))
        kept = int(batch["channels"][at])
        want = IMAGES.transform(latent(number), "flip_h") if batch["symmetry"][at] else latent(number)
        np.testing.assert_array_equal(batch["image"][at, :kept], want[:kept])
        assert not batch["image"][at, kept:].any()
    assert len(flips) == 2
    assert all(one.numpy().tobytes() == text(n).tobytes() for one, n in zip(batch["text"], numbers(batch), strict=True))


def test_groups_of_one_shape(heard: str) -> None:
    ds = opened(heard, fields=["image", "text"])
    kinds = set()
    for batch in LatentLoader(ds, 5, True, group_by="shape"):
        kinds.add((batch["image"].shape[2:], batch["text"].shape[1:]))
        np.testing.assert_array_equal(batch["image"], [latent(n, side(n)) for n in numbers(batch)])
    assert len(kinds) == 4
    for batch in LatentLoader(ds, max_positions=70):
        assert batch["image"].shape[0] * batch["image"][0, 0].numel() <= 70
    pixels = next(iter(LatentLoader(ds, 5, group_by="shape", output="pixels")))["image"]
    assert pixels.shape[1:] == (3, 32, 40)
    with pytest.raises(ArgumentError, match="is for stores of images alone"):
        LatentLoader(ds, 5, group_by="similar")


def test_recordings_are_padded(heard: str) -> None:
    ds = opened(heard)
    for options in ({"batch_size": 6, "shuffle": True}, {"max_positions": 200}):
        seen = []
        for batch in LatentLoader(ds, **options):  # type: ignore[arg-type]
            for at, number in enumerate(numbers(batch)):
                end = int(batch["lengths"][at])
                assert end == -(-len(recording(number)) // RECORDINGS.reduction) == int(batch["mask"][at].sum())
                np.testing.assert_array_equal(batch["audio"][at, :, :end], ds[number]["audio"])
                np.testing.assert_array_equal(batch["image"][at], latent(number, side(number)))
                seen.append(number)
        assert sorted(seen) == list(range(COUNT))
    own = opened(heard, fields=["audio", "text"])
    batch = next(iter(LatentLoader(own, 4, augment=Augment(seconds=0.02), output="waveforms")))
    assert batch["audio"].shape == (4, 160, 1) and batch["start"].shape == (4,)


def test_names_in_a_batch_have_one_meaning(tmp_path: Path) -> None:
    fields = {"a": RECORDINGS, "b": RECORDINGS, "mask": int}
    with Writer(tmp_path / "x", fields) as writer:
        for number in range(3):
            writer.write(f"{number}", {"a": recording(number), "b": recording(number + 1), "mask": 1})
    with pytest.raises(ArgumentError, match="batches say more of the latents 'a' under 'mask'"):
        LatentLoader(opened(str(tmp_path / "x")), 2)
    with pytest.raises(ArgumentError, match="batches say more of the latents 'b' under 'lengths'"):
        LatentLoader(opened(str(tmp_path / "x"), fields=["a", "b"]), 2)
    assert next(iter(LatentLoader(opened(str(tmp_path / "x"), fields=["b"]), 2)))["b"].shape[0] == 2


def test_a_mixture(store: str, tmp_path: Path) -> None:
    write(tmp_path / "more", range(100, 110))
    stores = {store: 0.5, opened(str(tmp_path / "more")): 0.5}
    for output in ("codes", "latents"):
        for batch in LatentLoader(latentstore.mix(stores), 6, True, drop_last=True, output=output):
            assert batch["image"].shape == (6, 48, 4, 5) and len(batch["text"]) == 6
            if output == "codes":
                np.testing.assert_array_equal(batch["image"], [latent(n) for n in numbers(batch)])
    with Writer(tmp_path / "none", {"text": Tensor("float16"), "label": int}) as writer:
        writer.write("x", {"text": text(1), "label": 1})
    with pytest.raises(ArgumentError, match=r"has the latents \['image'\] and .* has the latents \[\]"):
        latentstore.mix({store: 1.0, tmp_path / "none": 1.0})
    assert len(latentstore.mix({store: 1.0, tmp_path / "none": 1.0}, batches="separate")) == COUNT + 1


def test_a_mixture_of_recordings(heard: str) -> None:
    ds = opened(heard, fields=["audio", "text"])
    loader = LatentLoader(latentstore.mix({ds: 2.0, opened(heard, fields=["audio", "text"]): 1.0}), 6, True)
    for batch in loader:
        longest = batch["mask"].shape[1]
        assert batch["audio"].shape == (len(batch["key"]), 32, longest) and len(batch["text"]) == len(batch["key"])
        for at, number in enumerate(numbers(batch)):
            end = int(batch["lengths"][at])
            np.testing.assert_array_equal(batch["audio"][at, :, :end], ds[number]["audio"])
            assert not batch["audio"][at, :, end:].any()
            assert batch["text"][at].numpy().tobytes() == text(number).tobytes()


def test_a_damaged_sample_is_skipped(store: str, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "x")
    ds = opened(str(tmp_path / "x"))
    path = tmp_path / "x" / layout.shard_name(ds.reader.meta.shards[0].name)
    data = bytearray(path.read_bytes())
    data[ds.reader.meta.shards[0].fields[0] + 5] ^= 255
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="'0' \\(sample 0\\), field 'image': group 0"):
        list(LatentLoader(opened(str(tmp_path / "x")), 5))
    loader = LatentLoader(opened(str(tmp_path / "x")), 5, on_error="skip")
    assert [key for batch in loader for key in batch["key"]] == [f"{n}" for n in range(1, COUNT)]
    assert list(loader.skipped) == [0]


def test_two_images_are_changed_alike(tmp_path: Path) -> None:
    with Writer(tmp_path / "x", {"a": IMAGES, "b": IMAGES}) as writer:
        for number in range(12):
            writer.write(f"{number}", {"a": image(number), "b": image(number)})
    batch = next(iter(LatentLoader(opened(str(tmp_path / "x")), 12, augment=Augment(flip="both"))))
    assert torch.equal(batch["a"], batch["b"]) and len(set(batch["symmetry"].tolist())) > 1


def test_what_is_pickled_together_reads_from_one_memory(store: str, asked: list[Any]) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(store, "/mixed-pickled", recursive=True)
    try:
        ds = opened("memory://mixed-pickled")
        again, own = pickle.loads(pickle.dumps((ds, ds.latents["image"])))
        again.load_shards([0, 1])
        asked.clear()
        np.testing.assert_array_equal(own.read_latents(np.array([3, 20])), [latent(3), latent(20)])
        np.testing.assert_array_equal(again[20]["image"], latent(20))
        assert not asked
        alone = opened("memory://mixed-pickled").latents["image"]
        alone.load_shards([0, 1])
        asked.clear()
        np.testing.assert_array_equal(alone.read_latents(np.array([3, 20])), [latent(3), latent(20)])
        assert not asked
        seen = []
        for batch in as_dataloader(LatentLoader(opened(store), 5, "block"), num_workers=2):
            np.testing.assert_array_equal(batch["image"], [latent(number) for number in numbers(batch)])
            seen += numbers(batch)
        assert sorted(seen) == list(range(COUNT))
    finally:
        memory.rm("/mixed-pickled", recursive=True)


def forged(store: str, folder: Path, tail: Callable[[layout.Tail], layout.Tail], **about: Any) -> TensorDataset:
    """A copy of the store with another tail of its first shard, and another word of its images in the manifest."""
    shutil.copytree(store, folder)
    manifest = json.loads((folder / layout.MANIFEST).read_text())
    next(one for one in manifest["fields"] if one["name"] == "image")["latents"].update(about)
    shard = manifest["shards"][0]
    path = folder / layout.shard_name(shard["name"])
    data, parts = path.read_bytes(), latentstore.open(store).reader.meta.parts
    new = layout.encode_tail(tail(layout.decode_tail(data[-shard["tail"] :], parts, "")))
    path.write_bytes(data[: -shard["tail"]] + new)
    shard.update(bytes=len(data) - shard["tail"] + len(new), tail=len(new))
    del manifest["crc32c"]
    (folder / layout.MANIFEST).write_text(json.dumps(seal(manifest)))
    return opened(str(folder))


def of_size(tail: layout.Tail, height: int, width: int) -> layout.Tail:
    return replace(tail, shapes={**tail.shapes, "image": np.array([[height, width]], np.int64)})


@pytest.mark.parametrize(("tail", "said"), [
    (lambda tail: of_size(tail, 1 << 30, 1 << 30), "which none can have"),
    (lambda tail: of_size(tail, 0, 40), "which none can have"),
    (lambda tail: of_size(tail, 64, 64), "field 'image': group 0"),
    (lambda tail: replace(tail, shapes={}), "it lacks the sizes or the sums of the latents 'image'"),
    (lambda tail: replace(tail, shapes={**tail.shapes, "image": np.ones((1, 3), np.int64)}), "it lacks the sizes"),
    (lambda tail: replace(tail, moments={}), "it lacks the sizes or the sums of the latents 'image'"),
    (lambda tail: replace(tail, moments={"image": np.ones((2, 47))}), "it lacks the sizes or the sums"),
    (lambda tail: replace(tail, moments={"image": np.full((2, 48), np.nan)}), "sums over the latents are damaged"),
    (lambda tail: replace(tail, shapes={**tail.shapes, "image": np.full((1, 2), -1)}), "its shapes are damaged"),
])  # fmt: skip
def test_a_shard_that_lies(tail: Any, said: str, store: str, tmp_path: Path) -> None:
    ds = forged(store, tmp_path / "x", tail, size=None)
    with pytest.raises(CorruptError, match=said) as caught:
        ds.read(np.array([0, COUNT - 1]))
    assert "shards/" in str(caught.value)


def test_a_step_code_that_is_missing(heard: str, tmp_path: Path) -> None:
    ds = forged(
        heard, tmp_path / "x", lambda t: replace(t, columns={k: v for k, v in t.columns.items() if "step" not in k})
    )
    with pytest.raises(CorruptError, match="it lacks the field '@step/audio' of kind int"):
        ds[0]


def test_a_manifest_that_lies_about_the_size(store: str, tmp_path: Path) -> None:
    ds = forged(store, tmp_path / "x", lambda tail: tail, size=[64, 64])
    with pytest.raises(CorruptError, match="'0' \\(sample 0\\), field 'image': group 0"):
        ds[0]
