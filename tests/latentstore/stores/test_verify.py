"""`verify`: finds whatever is wrong, in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.stores.verify import verify


def test_good_stores(store: Any) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(store.url, progress=lambda done, total: seen.append((done, total)))
    assert report.problems == [] and (report.samples, report.shards) == (20, 3)
    assert report.bytes == latentstore.open(store.url).group_bytes().sum()
    assert seen[-1] == (20, 20) and str(report).endswith("all good")


def test_remote(make_store: Any, layout: str) -> None:
    store = make_store(f"memory://verify-{layout}", layout)
    assert verify(store.url).problems == []


@pytest.fixture
def broken(make_store: Any, layout: str, tmp_path: Path) -> Any:
    return make_store(tmp_path, layout, counts=(8, 2))


def _files(store: Any) -> list[Path]:
    return sorted(p for p in Path(store.url).rglob("*") if p.is_file())


def test_no_changed_byte_escapes(broken: Any) -> None:
    rng = np.random.default_rng(0)
    for path in _files(broken):
        good = path.read_bytes()
        for at in rng.integers(0, len(good), 6).tolist():
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(bad))
            assert verify(broken.url).problems, f"{path}, byte {at}"
        for cut in (0, len(good) // 2, len(good) - 3):
            path.write_bytes(good[:cut])
            assert verify(broken.url).problems, f"{path}, cut to {cut}"
        path.unlink()
        assert verify(broken.url).problems, f"{path}, gone"
        path.write_bytes(good)
    assert verify(broken.url).problems == []


def test_every_bad_blob_is_named(broken: Any) -> None:
    ds = latentstore.open(broken.url)
    fetched = ds.fetch(np.array([1, 6]))
    names = [ds.reader.object_name(int(n)) for n in ds.reader.objects(np.array([1, 6]), *ds.reader.locate(
        np.array([1, 6]), 1))[0][:, 0]]  # fmt: skip
    for i, name in zip((0, 4), names, strict=True):
        path = Path(broken.url) / name
        data = bytearray(path.read_bytes())
        data[int(fetched.start[i]) + int(fetched.length[i]) // 2] ^= 8
        path.write_bytes(bytes(data))
    problems = [p for p in verify(broken.url).problems if "group 0" in p]
    assert len(problems) == 2
    assert "a b/é 0001" in problems[0] and "a b/é 0006" in problems[1]


def test_labels_outside_the_classes(make_store: Any, layout: str, tmp_path: Path) -> None:
    from latentstore.loaders.manifest import seal

    store = make_store(tmp_path, layout)
    names = ("latentstore.json", "zarr.json", "tensors.json")
    path = next(p for p in (Path(store.url) / n for n in names) if p.exists())
    manifest = json.loads(path.read_text())
    info = manifest["attributes"]["latentstore"] if path.name == "zarr.json" else manifest
    (info["fields"][0]["latents"] if path.name == "tensors.json" else info)["classes"] = ["x"]
    del info["crc32c"]
    sealed = seal(info)
    path.write_text(json.dumps(sealed if info is manifest else {**manifest, "attributes": {"latentstore": sealed}}))
    if path.name == "tensors.json":
        (Path(store.url) / "versions/000001.json").write_bytes(path.read_bytes())
    (problem,) = verify(store.url).problems
    assert "'a b/é 0001': its label 1 is none of 1 class, numbered from 0" in problem


def test_wrong_statistics(make_store: Any, tmp_path: Path) -> None:
    from latentstore.loaders.manifest import seal

    store = make_store(tmp_path, "wds-fixed")
    path = Path(store.url) / "latentstore.json"
    manifest = json.loads(path.read_text())
    manifest["stats"]["std"][3] *= 2
    path.write_text(json.dumps(manifest))
    assert verify(store.url).problems == [f"{store.url}: its manifest is damaged or was changed after it was written"]
    del manifest["crc32c"]
    path.write_text(json.dumps(seal(manifest)))
    assert verify(store.url).problems == [f"{store.url}: the std in the manifest is not that of its latents"]


def test_no_store(tmp_path: Path) -> None:
    report = verify(f"{tmp_path}/nothing")
    assert len(report.problems) == 1 and "no latentstore store there" in report.problems[0]


def test_everything_is_read_once(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[int]] = {"keys": [], "fields": []}
    kind = type(latentstore.open(store.url).reader)

    def counted(name: str) -> Any:
        method = getattr(kind, name)

        def call(self: Any, indices: np.ndarray) -> Any:
            asked[name] += indices.tolist()
            return method(self, indices)

        return call

    for name in asked:
        monkeypatch.setattr(kind, name, counted(name))
    assert verify(store.url).problems == []
    assert asked == {"keys": list(range(20)), "fields": list(range(20))}


def test_wrong_totals_and_repeated_keys(make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.loaders.manifest import seal

    store = make_store(tmp_path, "wds-native")
    path = Path(store.url) / "latentstore.json"
    good = json.loads(path.read_text())
    for name in ("extent", "blob_bytes"):
        manifest = {key: value for key, value in good.items() if key != "crc32c"}
        manifest[name] += 1
        path.write_text(json.dumps(seal(manifest)))
        (problem,) = verify(store.url).problems
        assert problem == f"{store.url}: {name} is {manifest[name]} in the manifest, and {good[name]} was found"
    path.write_text(json.dumps(good))
    kind = type(latentstore.open(store.url).reader)
    monkeypatch.setattr(kind, "keys", lambda self, indices: [f"{i % 19}" for i in indices.tolist()])
    assert f"{store.url}: 1 keys are used more than once" in verify(store.url).problems
