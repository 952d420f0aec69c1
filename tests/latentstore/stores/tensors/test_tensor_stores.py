"""info, verify and export of stores of tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from imported_stores import values, write_store

import latentstore
from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.importing.api import import_tensors
from latentstore.importing.files.read import read_tensors
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.layout import shard_name
from latentstore.stores.export import export
from latentstore.stores.info import store_table
from latentstore.stores.tensors.objects import check_copy
from latentstore.stores.tensors.verify import verify_tensors
from latentstore.stores.verify import verify
from latentstore.writing.tensors.gc import collect_garbage

KEYS = [f"a/{number}" for number in range(9)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    write_store(tmp_path / "s", KEYS)
    return str(tmp_path / "s")


def test_info(store: str) -> None:
    rows = dict(line.split("  ", 1) for line in store_table(store).splitlines())
    ds = latentstore.open(store)
    assert rows["samples"].split() == [
        "9",
        "in",
        str(len(ds.shard_starts) - 1),
        "shard" + "s" * (len(ds.shard_starts) > 2),
    ]
    assert rows["version"].strip() == "1"
    assert rows["tensor latent"].strip().startswith("float16 (2, 3, 4), lossless, ")
    assert "bfloat16 (1 to 3, 5), lossless" in rows["tensor text"]
    assert "int16 (6,), codes, below 300" in rows["tensor tokens"]
    size = sum(shard.fields[0] for shard in ds.reader.meta.shards)
    assert f"{8 * size / (9 * 24):.3f} bits a value" in rows["tensor latent"]
    assert rows["fields"].strip() == "key, label (int), score (float), name (str), raw (bytes)"
    assert "mine, weights abab" in rows["encoder of latent"] and rows["encoder of text"].strip() == "not stated"


def test_a_good_store(store: str) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(store, progress=lambda done, total: seen.append((done, total)))
    assert report.problems == [] and report.samples == 9 and seen[-1] == (9, 9)
    assert report.bytes == sum(sum(shard.fields) for shard in latentstore.open(store).reader.meta.shards)
    write_store("memory://verify-tensors", KEYS)
    assert verify("memory://verify-tensors").problems == []


def test_a_new_version_is_published_meanwhile(store: str) -> None:
    """The newest manifest is not the one that is checked, and its copy is not damaged by that."""
    ds = latentstore.open(store)
    assert isinstance(ds, TensorDataset)
    write_store(Path(store), [*KEYS, "b"], resume=True)
    assert not check_copy(ds.reader) and not verify_tensors(ds).problems
    (Path(store) / "versions" / "000001.json").write_text('{"other": 1}')
    assert check_copy(ds.reader)
    write_store(Path(store), KEYS, overwrite=True)
    collect_garbage(store)
    assert verify_tensors(ds).problems == [
        f"{store}: version 1 was removed while it was being checked, and there is version 3 now: verify it again"
    ]


def test_no_changed_byte_escapes(store: str) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(p for p in Path(store).rglob("*") if p.is_file()):
        good = path.read_bytes()
        for at in rng.integers(0, len(good), 12).tolist():
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(bad))
            assert verify(store).problems, f"{path}, byte {at}"
        for cut in (0, len(good) // 2, len(good) - 3):
            path.write_bytes(good[:cut])
            assert verify(store).problems, f"{path}, cut to {cut}"
        path.unlink()
        assert verify(store).problems, f"{path}, gone"
        path.write_bytes(good)
    assert verify(store).problems == []


def test_every_bad_blob_is_named(store: str) -> None:
    ds = latentstore.open(store)
    for index, field in ((1, "latent"), (4, "tokens")):
        blobs = ds.fetch(np.array([index]))
        at = list(ds.tensors).index(field)
        name = ds.reader.meta.shards[int(np.searchsorted(ds.shard_starts, index, side="right")) - 1].name
        path = Path(store) / shard_name(name)
        data = bytearray(path.read_bytes())
        start = data.index(bytes(blobs[at]))
        data[start + len(blobs[at]) - 1] ^= 1
        path.write_bytes(data)
    problems = verify(store).problems
    assert len(problems) == 2
    assert "'a/1'" in problems[0] and "field 'latent'" in problems[0] and "shards/" in problems[0]
    assert "'a/4'" in problems[1] and "field 'tokens'" in problems[1]


def test_export_and_back(store: str, tmp_path: Path) -> None:
    done = export(store, str(tmp_path / "out"), progress=False)
    assert done.count == 9 and not done.failures
    for number, key in enumerate(KEYS):
        found = read_tensors("safetensors", (tmp_path / "out" / f"{key}.safetensors").read_bytes())
        for name in ("latent", "text", "tokens"):
            expected, array = values(number)[name], found[name]
            assert isinstance(array, np.ndarray) and array.dtype == expected.dtype and array.shape == expected.shape
            assert array.tobytes() == expected.tobytes()
    lines = [json.loads(line) for line in (tmp_path / "out" / "fields.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[3] == {"key": "a/3", "label": 3, "score": 1.5, "name": "é3", "raw": {"base64": "Aw=="}}
    assert lines[1]["score"] == {"float": "nan"}
    import_tensors(tmp_path / "out", tmp_path / "back")
    back, ds = latentstore.open(tmp_path / "back"), latentstore.open(store)
    assert verify(str(tmp_path / "back")).problems == []
    for index in range(9):
        for name in ("label", "name", "raw"):
            assert back[index][name] == ds[index][name]
        assert str(back[index]["score"]) == str(ds[index]["score"])
        assert (back[index]["text"].view(np.int16) == ds[index]["text"].view(np.int16)).all()


def test_other_readers_read_the_files(store: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    export(store, str(tmp_path / "out"), limit=1)
    found = load_file(tmp_path / "out" / "a" / "0.safetensors")
    assert found["text"].dtype == torch.bfloat16
    assert found["text"].view(torch.int16).numpy().tobytes() == values(0)["text"].tobytes()
    export(store, str(tmp_path / "npz"), limit=2, format="npz", as_float32=True)
    with np.load(tmp_path / "npz" / "a" / "1.npz") as archive:
        assert (archive["latent"] == values(1)["latent"]).all()
        assert archive["text"].dtype == np.float32 and (archive["text"] == values(1)["text"].astype("f4")).all()
    assert not (tmp_path / "npz" / "a" / "2.npz").exists()


def test_npz_has_no_bfloat16(store: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'text'.*export it as safetensors, or as float32"):
        export(store, str(tmp_path / "out"), format="npz")
    assert not (tmp_path / "out").exists()


def test_unsafe_keys_are_left_out(tmp_path: Path) -> None:
    keys = ["../out", "/etc/x", "a", "b/../../c", "x" * 300, "a.safetensors/b"]
    write_store(tmp_path / "s", keys)
    done = export(str(tmp_path / "s"), str(tmp_path / "out"), progress=False)
    written = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert {key for key, _ in done.failures} >= {"../out", "/etc/x", "b/../../c", "x" * 300}
    assert done.count + len(done.failures) == 6 and len(written) == done.count + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "s"]


def test_what_an_export_refuses(store: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(StoreError, match="not an empty folder"):
        export(store, str(tmp_path / "full"))
    with pytest.raises(ArgumentError, match="format is 'pt'"):
        export(store, str(tmp_path / "out"), format="pt")
    with pytest.raises(ArgumentError, match="decoder"):
        export(store, str(tmp_path / "out"), decoder="small")
    with pytest.raises(ArgumentError, match="channels"):
        export(store, str(tmp_path / "out"), channels=3)


def test_the_format_is_for_tensors(make_store: object, tmp_path: Path) -> None:
    made = make_store(tmp_path, "zarr-fixed", counts=(2,))  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="for stores of tensors"):
        export(made.url, str(tmp_path / "out"), format="npz")
