"""`import_tensors`: every kind of source becomes a store, and what is left out is named."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tensor_files import npy, npz, write_mds, write_tar

import latentstore
from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.importing.api import import_tensors
from latentstore.importing.report import QUARANTINE, REPORT, ImportReport

RNG = np.random.default_rng(0)


def latent(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(2, 3, 4)).astype(np.float16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven samples, one of them without a caption; in two folders."""
    for number in range(7):
        place = tmp_path / "source" / f"n{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.npy").write_bytes(npy(latent(number)))
        if number:
            (place / f"{number}.txt").write_text(f"caption {number}")
    return tmp_path / "source"


def adds_up(report: ImportReport, stored: int, left_out: int, passed_over: int) -> None:
    assert (report.stored, len(report.failures), sum(report.passed_over.values())) == (stored, left_out, passed_over)
    assert report.found == stored + left_out + passed_over


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    report = import_tensors(folder, tmp_path / "s")
    adds_up(report, 7, 0, 0)
    ds = latentstore.open(tmp_path / "s")
    assert ds.keys() == ["n0/0", "n0/2", "n0/4", "n0/6", "n1/1", "n1/3", "n1/5"]
    for sample in (ds[i] for i in range(len(ds))):
        number = int(sample["key"][-1])
        assert (sample["tensor"] == latent(number)).all() and sample["tensor"].dtype == np.float16
        assert sample["txt"] == (f"caption {number}" if number else "")
    assert not (tmp_path / "s" / QUARANTINE).exists()
    assert json.loads((tmp_path / "s" / REPORT).read_text())["stored"] == 7


def test_what_is_left_out_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.npy").write_bytes(b"no array")
    (folder / "object.npy").write_bytes(npy(np.array([{}], object)))
    (folder / "wide.npy").write_bytes(npy(np.zeros(3, np.float64)))
    (folder / "two.npy").write_bytes(npy(latent(9)))
    (folder / "two.npz").write_bytes(npz(tensor=latent(9)))
    (folder / "more.npz").write_bytes(npz(tensor=latent(9), mask=latent(9)))
    (folder / "gone.npy").symlink_to(folder / "nowhere")
    (folder / "readme.md").write_text("text")
    (folder / "lonely.txt").write_text("text")
    (folder / "image.jpg").write_bytes(b"image")
    (folder / ".hidden.npy").write_bytes(npy(latent(9)))
    report = import_tensors(folder, tmp_path / "s")
    adds_up(report, 7, 6, 4)
    reasons = {failure.key: failure.reason for failure in report.failures}
    assert "link to nothing" in reasons["gone"] and "pickle" in reasons["object"] and "no .npy file" in reasons["bad"]
    assert "float64, and float16 is stored" in reasons["wide"]
    assert "both hold 'tensor'" in reasons["two"] and "'mask'" in reasons["more"]
    lines = (tmp_path / "s" / QUARANTINE).read_text().splitlines()
    assert {json.loads(line)["key"]: json.loads(line)["reason"] for line in lines} == reasons
    page = report.page()
    assert "entries found             17" in page and "left out                 6" in page


def test_archives_and_their_fields(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / f"{number}.npz").write_bytes(
            npz(latent=latent(number), ids=np.arange(number + 1), ok=np.array(True), size=np.array(0.5 + number))
        )
    import_tensors(source, tmp_path / "s")
    ds = latentstore.open(tmp_path / "s")
    assert ds.tensors["ids"].dtype == "int32" and ds.others == ["ok", "size"]
    assert ds[3]["ids"].tolist() == [0, 1, 2, 3] and ds[3]["ok"] == 1 and ds[3]["size"] == 3.5


def test_caches_of_kohya(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"im{number}.jpg").write_bytes(b"image")
        (source / f"im{number}.txt").write_text("caption")
        sizes = {"3x4": latent(number).astype("f4")}
        if number == 2:
            sizes["6x8"] = np.zeros((2, 6, 8), "f4")
        arrays: dict[str, np.ndarray] = {}
        for size, array in sizes.items():
            arrays |= {f"latents_{size}": array, f"original_size_{size}": np.array([40, 30])}
            arrays[f"crop_ltrb_{size}"] = np.array([0, 0, 32, 24])
        (source / f"im{number}_0032x0024_sdxl.npz").write_bytes(npz(**arrays))
        (source / f"im{number}_te_outputs.npz").write_bytes(npz(pool2=np.full(5, number, "f4")))
    report = import_tensors(source, tmp_path / "s")
    adds_up(report, 4, 0, 3)
    ds = latentstore.open(tmp_path / "s")
    assert ds.keys() == ["im0", "im1", "im2_3x4", "im2_6x8"]
    assert (ds[1]["latents"] == latent(1)).all() and ds[1]["original_size"].tolist() == [40, 30]
    assert ds[3]["latents"].shape == (2, 6, 8) and ds[3]["pool2"].tolist() == [2.0] * 5 and ds[3]["txt"] == "caption"
    again = import_tensors(source, tmp_path / "s", resume=True)
    assert again.stored == again.resumed == 4


def test_files_of_torch(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    source = tmp_path / "source"
    source.mkdir()
    made = [torch.randn(2, 3).bfloat16() for _ in range(3)]
    for number, tensor in enumerate(made):
        torch.save({"latent": tensor, "label": number}, source / f"{number}.pt")
    import_tensors(source, tmp_path / "s")
    ds = latentstore.open(tmp_path / "s")
    for number, tensor in enumerate(made):
        assert ds[number]["label"] == number and ds[number]["latent"].dtype == ml_dtypes.bfloat16
        assert ds[number]["latent"].tobytes() == tensor.view(torch.int16).numpy().tobytes()


def tar_members(numbers: Any) -> list[tuple[str, bytes]]:
    members = []
    for number in numbers:
        members += [
            (f"{number:03d}.latent.npy", npy(latent(number))),
            (f"{number:03d}.cls", str(number).encode()),
            (f"{number:03d}.te.npz", npz(a=np.full(2, number, "f4"))),
        ]
        if number % 2:
            members.append((f"{number:03d}.json", b'{"n": 1}'))
    return members


def test_tars(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_tar(source / "x-0.tar", tar_members(range(3)))
    write_tar(source / "x-1.tar", [*tar_members(range(3, 6)), ("006.cls", b"6"), ("007.latent.npy", b"no")])
    report = import_tensors(source, tmp_path / "s")
    adds_up(report, 6, 2, 0)
    assert "no tensor among its members (cls)" in report.failures[0].reason
    ds = latentstore.open(tmp_path / "s")
    for number in range(6):
        sample = ds[number]
        assert (sample["latent"] == latent(number)).all() and sample["label"] == number
        assert sample["te.a"].tolist() == [number] * 2 and sample["json"] == ('{"n": 1}' if number % 2 else "")


def test_a_tar_cut_short(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", tar_members(range(3)))
    data = (tmp_path / "x.tar").read_bytes()
    with tarfile.open(tmp_path / "x.tar") as tar:
        last = tar.getmembers()[-1].offset
    (tmp_path / "x.tar").write_bytes(data[: last + 100])
    report = import_tensors(tmp_path / "x.tar", tmp_path / "s")
    assert report.stored == 2 and any("cut short" in failure.reason for failure in report.failures)


def mds_rows(count: int) -> list[dict[str, bytes]]:
    rows = []
    for number in range(count):
        head = bytes([18, 3 << 2]) + bytes((2, 3, 4))
        rows.append({
            "a": latent(number).tobytes(), "b": head + latent(number).tobytes(), "label": np.int64(number).tobytes(),
            "name": f"é{number}".encode(), "raw": bytes([number]), "f": np.float32(0.5).tobytes(), "n": b"7",
        })  # fmt: skip
    return rows


MDS: dict[str, tuple[str, int | None]] = {
    "a": ("ndarray:float16:2,3,4", 48), "b": ("ndarray", None), "label": ("int", 8), "name": ("str", None),
    "raw": ("bytes", None), "f": ("float32", 4), "n": ("str_int", None),
}  # fmt: skip


@pytest.mark.parametrize("compression", [None, "gz", "bz2:9", "zstd"])
def test_mosaicml_streaming(tmp_path: Path, compression: str | None) -> None:
    write_mds(tmp_path / "source", MDS, mds_rows(8), compression=compression)
    adds_up(import_tensors(tmp_path / "source", tmp_path / "s"), 8, 0, 0)
    ds = latentstore.open(tmp_path / "s")
    assert ds.keys() == [f"{number:06d}" for number in range(8)]
    for number in range(8):
        sample = ds[number]
        assert (sample["a"] == latent(number)).all() and (sample["b"] == latent(number)).all()
        rest = [sample[name] for name in ("label", "name", "raw", "f", "n")]
        assert rest == [number, f"é{number}", bytes([number]), 0.5, 7]


def test_mds_with_keys_and_pickles(tmp_path: Path) -> None:
    rows = [{"a": latent(n).tobytes(), "key": key, "p": b"\x80\x02."} for n, key in enumerate([b"x", b"y/z", b"x"])]
    columns: dict[str, tuple[str, int | None]] = {"a": MDS["a"], "key": ("str", None), "p": ("pkl", None)}
    write_mds(tmp_path / "source", columns, rows)
    with pytest.raises(ArgumentError, match="'p' holds pickles"):
        import_tensors(tmp_path / "source", tmp_path / "s")
    report = import_tensors(tmp_path / "source", tmp_path / "s", fields={"p": "skip"})
    adds_up(report, 2, 1, 0)
    assert "twice" in report.failures[0].reason and latentstore.open(tmp_path / "s").keys() == ["x", "y/z"]


def test_damaged_mds(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_mds(source, MDS, mds_rows(12))
    (source / "shard.00001.mds").write_bytes((source / "shard.00001.mds").read_bytes()[:-7])
    (source / "shard.00002.mds").unlink()
    data = bytearray((source / "shard.00003.mds").read_bytes())
    data[8:12] = (1 << 31).to_bytes(4, "little")
    (source / "shard.00003.mds").write_bytes(data)
    report = import_tensors(source, tmp_path / "s")
    adds_up(report, 3, 3, 0)
    assert all("its 3 samples are left out" in failure.reason for failure in report.failures)
    text = " ".join(failure.reason for failure in report.failures)
    assert "the index says" in text and "not there" in text and "number of its samples" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"samples": 1 << 40}, "the size of"),
        ({"samples": 1 << 23}, "the size of"),
        ({"raw_data": {"basename": "../x", "bytes": 400, "hashes": {}}}, "the name"),
        ({"raw_data": {"basename": "x" * 300, "bytes": 400, "hashes": {}}}, "the name"),
        ({"raw_data": {"basename": "x", "bytes": 1 << 40, "hashes": {}}}, "the size of"),
        ({"column_sizes": [1]}, "no index"),
        ({"column_encodings": 7}, "no index"),
        ({"format": "xsv"}, "mds is read"),
        ({"version": 3}, None),
    ],
)
def test_an_index_that_claims_too_much(tmp_path: Path, change: dict[str, Any], reason: str | None) -> None:
    write_mds(tmp_path / "source", MDS, mds_rows(3))
    path = tmp_path / "source" / "index.json"
    index = json.loads(path.read_text())
    index["shards"][0] |= change
    if reason is None:
        index["version"], reason = 3, "version 2"
    path.write_text(json.dumps(index))
    with pytest.raises(ArgumentError, match=reason):
        import_tensors(tmp_path / "source", tmp_path / "s")


def test_arrays_that_claim_too_much(tmp_path: Path) -> None:
    zarr: Any = pytest.importorskip("zarr")
    shapes = {"rows": ((1 << 40, 2), (1, 2)), "row": ((4, 1 << 40), (1, 4)), "chunk": ((1 << 20, 1 << 12),) * 2}
    for name, (shape, chunks) in shapes.items():
        zarr.create_array(tmp_path / f"{name}.zarr", shape=shape, chunks=chunks, dtype="f4")
        with pytest.raises(ArgumentError, match="are read"):
            import_tensors(tmp_path / f"{name}.zarr", tmp_path / "s")
    good = npy(np.zeros((3, 0)))
    (tmp_path / "x.npy").write_bytes(good.replace(b"(3, 0), }" + b" " * 9, b"(3000000000, 0), }"))
    with pytest.raises(ArgumentError, match="claims 3,000,000,000 samples"):
        import_tensors(tmp_path / "x.npy", tmp_path / "s")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.importing import api

    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        (source / f"{number:02d}.npy").write_bytes(
            npy(np.random.default_rng(number).integers(0, 256, 8 << 20, np.uint8))
        )
    plain = api.read_parts

    def stopped(*arguments: Any) -> Any:
        for number, read in enumerate(plain(*arguments)):
            if number == 10:
                raise StoreError("the network is gone")
            yield read

    monkeypatch.setattr(api, "read_parts", stopped)
    with pytest.raises(StoreError, match="network") as caught:
        import_tensors(source, tmp_path / "s")
    assert caught.value.remedy == "resume" and not (tmp_path / "s" / "tensors.json").exists()
    monkeypatch.undo()
    report = import_tensors(source, tmp_path / "s", resume=True)
    assert report.stored == 12 and report.resumed >= 3
    ds = latentstore.open(tmp_path / "s")
    assert sorted(ds.keys()) == [f"{number:02d}" for number in range(12)]


def test_mds_bytes_do_no_more_than_refuse(tmp_path: Path) -> None:
    write_mds(tmp_path / "source", MDS, mds_rows(3))
    shard, rng = tmp_path / "source" / "shard.00000.mds", np.random.default_rng(2)
    good = shard.read_bytes()
    for number in range(60):
        bad = bytearray(good)
        for at in rng.integers(0, len(bad), 3).tolist():
            bad[at] = int(rng.integers(0, 256))
        shard.write_bytes(bad)
        try:
            import_tensors(tmp_path / "source", tmp_path / f"s{number}")
        except LatentstoreError as error:
            assert "\n" not in str(error)


def test_zarr_and_single_files(tmp_path: Path) -> None:
    zarr: Any = pytest.importorskip("zarr")
    data = RNG.normal(size=(150, 2, 3)).astype("f4")
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("latent", data=data, chunks=(40, 2, 3))
    group.create_array("label", data=np.arange(150))
    group.create_array("mean", data=np.zeros(3))
    group.create_array("key", shape=(150,), dtype="string")[:] = np.array([f"k{n}" for n in range(150)], object)
    adds_up(import_tensors(tmp_path / "g.zarr", tmp_path / "g"), 150, 0, 1)
    ds = latentstore.open(tmp_path / "g")
    assert ds.keys()[149] == "k149" and ds[77]["label"] == 77 and (ds[77]["latent"] == data[77]).all()
    (tmp_path / "all.npy").write_bytes(npy(data))
    (tmp_path / "all.npz").write_bytes(npz(x=data, key=np.arange(150) * 2))
    for name, field, key in (("all.npy", "tensor", "000149"), ("all.npz", "x", "298")):
        import_tensors(tmp_path / name, tmp_path / f"{name}.store")
        ds = latentstore.open(tmp_path / f"{name}.store")
        assert len(ds) == 150 and ds.keys()[-1] == key and (ds[3][field] == data[3]).all()
    (tmp_path / "odd.npz").write_bytes(npz(x=data, y=data[1:]))
    with pytest.raises(ArgumentError, match="arrays of one length"):
        import_tensors(tmp_path / "odd.npz", tmp_path / "odd")


def test_what_is_said_of_fields(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        arrays = {"x": latent(number).astype("f8"), "codes": np.full(3, 70 * number), "z": latent(number)}
        (source / f"{number}.npz").write_bytes(npz(**arrays))
    with pytest.raises(ArgumentError, match=r"'x' is float64.*say its dtype"):
        import_tensors(source, tmp_path / "s")
    said = {"latent": "from=x,bfloat16", "codes": "int16,codes,vocabulary=256", "z": "skip"}
    report = import_tensors(source, tmp_path / "s", fields=said)
    adds_up(report, 4, 1, 0)
    assert "outside of the vocabulary" in report.failures[0].reason
    ds = latentstore.open(tmp_path / "s")
    assert list(ds.tensors) == ["codes", "latent"] and ds.tensors["latent"].dtype == "bfloat16"
    assert (ds[2]["latent"] == latent(2).astype(ml_dtypes.bfloat16)).all() and ds[2]["codes"].tolist() == [140] * 3
    import_tensors(
        source, tmp_path / "t", dtype="float16", fields={"codes": "skip", "z": latentstore.Tensor("float32")}
    )
    assert latentstore.open(tmp_path / "t").tensors["z"].dtype == "float32"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"snr": 30}, "snr is given"),
        ({"coding": "codes"}, "lossless or step"),
        ({"dtype": "int8"}, "for tensors of floats"),
        ({"fields": {"tensor": "flaot16"}}, "said to be 'flaot16'"),
        ({"fields": {"nothing": "skip"}}, "not in the source"),
        ({"fields": {"tensor": "skip"}}, "no field of tensors"),
        ({"fields": {"tensor": "int8,step"}}, "for float32"),
        ({"fields": {"txt": "from=tensor"}}, "two fields"),
        ({"resume": True, "overwrite": True}, "only one"),
        ({"coders": {"other": "x.safetensors"}}, "no coder"),
    ],
)
def test_options_that_cannot_be_meant(folder: Path, tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        import_tensors(folder, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_values_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(9):
        array = np.full(3, 1e6 if number == 4 else number, "f4")
        ids = np.array([1, 1 << 40 if number == 5 else 2])
        (source / f"{number}.npz").write_bytes(npz(x=array, ids=ids))
    report = import_tensors(source, tmp_path / "s", dtype="float16")
    adds_up(report, 7, 2, 0)
    assert "infinite in float16" in report.failures[0].reason and "beyond int32" in report.failures[1].reason


def test_tensors_that_no_store_holds_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    for number in range(700):
        array = rng.normal(size=(2, 30)).astype("f4") * np.float32(1e30 if number == 601 else 1)
        np.save(source / f"{number:03d}.npy", array.reshape((1,) * 7 + (2, 30)) if number == 7 else array)
    report = import_tensors(source, tmp_path / "s", coding="step", snr=20)
    adds_up(report, 698, 2, 0)
    assert [failure.path for failure in report.failures] == ["007.npy", "601.npy"]
    assert "at most 8 axes" in report.failures[0].reason and "2^31 or more times" in report.failures[1].reason
    keys = set(latentstore.open(tmp_path / "s").keys())
    assert len(keys) == 698 and not keys & {"007", "601"}


def test_bfloat16_that_numpy_wrote(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    array = RNG.normal(size=(3, 4)).astype(ml_dtypes.bfloat16)
    (source / "a.npy").write_bytes(npy(array))
    with pytest.raises(ArgumentError, match="say that its dtype is bfloat16"):
        import_tensors(source, tmp_path / "s")
    import_tensors(source, tmp_path / "s", fields={"tensor": "bfloat16"})
    assert latentstore.open(tmp_path / "s")[0]["tensor"].tobytes() == array.tobytes()


def test_resume_and_overwrite(folder: Path, tmp_path: Path) -> None:
    import_tensors(folder, tmp_path / "s", encoder=latentstore.Encoder("mine"))
    with pytest.raises(StoreError, match="already exists"):
        import_tensors(folder, tmp_path / "s")
    (folder / "n0" / "8.npy").write_bytes(npy(latent(8)))
    with pytest.raises(StoreError, match="encoder"):
        import_tensors(folder, tmp_path / "s", resume=True)
    report = import_tensors(folder, tmp_path / "s", resume=True, encoder=latentstore.Encoder("mine"))
    assert (report.stored, report.resumed) == (8, 7)
    ds = latentstore.open(tmp_path / "s")
    assert ds.version == 2 and len(ds) == 8 and ds.encoders["tensor"].name == "mine"
    import_tensors(folder, tmp_path / "s", overwrite=True)
    assert len(latentstore.open(tmp_path / "s")) == 8


@pytest.mark.parametrize("line", ["{", "[]", '{"label": 1}', '{"key": 1}', '{"key": "a", "x": [1]}'])
def test_a_file_of_fields_that_is_none(folder: Path, tmp_path: Path, line: str) -> None:
    (folder / "fields.jsonl").write_text('{"key": "n0/0", "label": 1}\n' + line)
    with pytest.raises(ArgumentError, match=r"fields.jsonl, line 2"):
        import_tensors(folder, tmp_path / "s")


def test_sources_that_are_none(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "x.txt").write_text("text")
    with pytest.raises(ArgumentError, match="holds no file of tensors"):
        import_tensors(empty, tmp_path / "s")
    (empty / "x.npy").write_bytes(b"no")
    with pytest.raises(LatentstoreError, match=r"no tensor of .* could be read"):
        import_tensors(empty, tmp_path / "s")
    with pytest.raises(StoreError, match="does not exist"):
        import_tensors(tmp_path / "nothing", tmp_path / "s")
    import_tensors(folder, tmp_path / "s")
    with pytest.raises(ArgumentError, match="already"):
        import_tensors(tmp_path / "s", tmp_path / "t")
    with pytest.raises(ArgumentError, match="is the source"):
        import_tensors(folder, folder, overwrite=True)


def test_a_store_inside_of_its_source_is_no_part_of_it(folder: Path) -> None:
    for _ in range(2):
        adds_up(import_tensors(folder, folder / "s", overwrite=True), 7, 0, 0)


def test_other_remote_sources(tmp_path: Path) -> None:
    import fsspec

    zarr: Any = pytest.importorskip("zarr")
    write_mds(tmp_path / "mds", MDS, mds_rows(8), compression="gz")
    write_tar(tmp_path / "x-0.tar", tar_members(range(3)))
    zarr.create_array(tmp_path / "z.zarr", data=np.arange(24.0, dtype="f4").reshape(8, 3))
    (tmp_path / "all.npy").write_bytes(npy(np.arange(24.0, dtype="f4").reshape(8, 3)))
    memory = fsspec.filesystem("memory")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            memory.pipe(f"/import-others/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    for name, count in (("mds", 8), ("x-0.tar", 3), ("z.zarr", 8), ("all.npy", 8)):
        adds_up(import_tensors(f"memory://import-others/{name}", tmp_path / f"{name}.store"), count, 0, 0)
        assert len(latentstore.open(tmp_path / f"{name}.store")) == count


def test_a_remote_source_and_target(folder: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.npy"):
        memory.pipe(f"/import-test/{path.relative_to(folder).as_posix()}", path.read_bytes())
    report = import_tensors("memory://import-test", "memory://import-test-store")
    assert report.stored == 7 and len(latentstore.open("memory://import-test-store")) == 7
