"""Sources: what is listed, in which order, under which keys, with which fields; what is reported as bad."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_files import fill, pixels, png, reason

from latentstore import ArgumentError, StoreError
from latentstore.loaders.remote import retry
from latentstore.loaders.remote.location import Location
from latentstore.sources import BadItem, Source, open_source
from latentstore.sources.images import read_image
from latentstore.sources.item import key_of, unique_keys
from latentstore.sources.places import expand_braces


def by_key(source: Source) -> dict[str, Any]:
    assert len({item.key for item in source}) == len(source)
    return {item.key: item for item in source}


# ---- keys


def test_keys_hold_no_dots_and_are_unique() -> None:
    assert key_of("a.b/c.d.jpg") == "a.b/c_d"
    assert key_of("naïve 图片 (1).JPG") == "naïve 图片 (1)"
    assert key_of("no_extension") == "no_extension"
    assert key_of(os.fsdecode(b"caf\xe9.png")) == "caf\ufffd"
    asked = [("a", "jpg"), ("a", "png"), ("a", "png"), ("a_png", "gif"), ("b", ""), ("b", "")]
    assert unique_keys(asked) == ["a", "a_png", "a_png_2", "a_png_gif", "b", "b_2"]


def test_braces() -> None:
    assert expand_braces("x-{008..011}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar", "x-011.tar"]
    assert expand_braces("{a,b}-{0..1}.tar") == ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    for bad in ("x-{3..1}.tar", "x-{}.tar", "x-{000000..}.tar"):
        with pytest.raises(ArgumentError, match="neither a range"):
            expand_braces(bad)


# ---- folders


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "b.png", "a.png", "ü 图.PNG"))
    assert [item.key for item in source] == ["a", "b", "ü 图"]
    assert (source.kind, source.classes, source.passed_over) == ("folder", None, {})
    assert all(item.fields == {} and item.size_bytes == len(item.read()) for item in source)
    np.testing.assert_array_equal(read_image(by_key(source)["ü 图"].read()), pixels(2))


def test_first_folders_are_classes(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "dog/x/1.png", "cat/1.png", "cat/0.png", "top.png"))
    assert source.classes == ("cat", "dog")
    assert [(item.key, item.fields["label"]) for item in source] == [
        ("cat/0", 0),
        ("cat/1", 0),
        ("dog/x/1", 1),
        ("top", -1),
    ]


def test_names_that_collide(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "a.png", "a.jpg", "a", "a.b.png", "a_b.png"))
    assert {item.path: item.key for item in source} == {
        "a": "a",
        "a.b.png": "a_b",
        "a.jpg": "a_jpg",
        "a.png": "a_png",
        "a_b.png": "a_b_png",
    }


def test_what_is_left_out_and_what_is_reported(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "good.png",
        ".hidden.png",
        "sub/Thumbs.db",
        "__MACOSX/good.png",
        ".git/x.png",
        "in.jpg/deep.png",
    )
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "linked.png").symlink_to("good.png")
    (tmp_path / "again").symlink_to(".", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty").mkdir()
    source = open_source(tmp_path)
    assert source.passed_over == {"hidden or system file": 4, "text beside the data (.txt)": 1}
    items = by_key(source)
    assert sorted(items) == ["again", "dangling", "good", "in.jpg/deep", "linked", "pipe"]
    assert reason(items["dangling"]) == "a link to nothing"
    assert reason(items["again"]) == "a link to a folder that holds it"
    assert "no regular file" in reason(items["pipe"])
    np.testing.assert_array_equal(read_image(items["linked"].read()), pixels(0))


def test_a_file_that_went_away_or_is_huge(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "a.png", "b.png"))
    (tmp_path / "a.png").unlink()
    assert "gone" in reason(source[0])
    with (tmp_path / "b.png").open("wb") as file:
        file.truncate(1 << 31)  # sparse: it takes no room
    assert "at most" in reason(open_source(tmp_path)[0])


def test_stamps_follow_content(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    before = open_source(tmp_path)[0].stamp
    assert open_source(tmp_path)[0].stamp == before
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert open_source(tmp_path)[0].stamp != before


def test_items_pickle(tmp_path: Path) -> None:
    source = open_source(fill(tmp_path, "c/a.png"))
    np.testing.assert_array_equal(read_image(pickle.loads(pickle.dumps(source.items))[0].read()), pixels(0))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_source(tmp_path / "absent")
    with pytest.raises(ArgumentError, match="is a file"):
        open_source(fill(tmp_path, "a.png") / "a.png")
    with pytest.raises(StoreError, match="does not exist"):
        open_source("memory://absent-folder")


def test_a_remote_folder(s3_server: dict[str, Any]) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(**s3_server)
    for i, name in enumerate(["cat/é 1.png", "dog/2.png", ".hidden/3.png"]):
        fs.pipe_file(f"bucket/images/{name}", png(i))
    source = open_source("s3://bucket/images", storage_options=s3_server)
    assert [(item.key, item.fields) for item in source] == [
        ("cat/é 1", {"label": 0}),
        ("dog/2", {"label": 1}),
    ]
    assert source.passed_over == {"hidden or system file": 1}
    assert all(item.stamp for item in source)
    moved = pickle.loads(pickle.dumps(source.items))
    np.testing.assert_array_equal(read_image(moved[1].read()), pixels(1))
    fs.rm("bucket/images/dog/2.png")
    assert "gone" in reason(moved[1])


# ---- labels


def test_labels_by_path_stem_or_key(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "sub/b.png", "c.d.png")
    rows = [
        "Name,file,label,score,when,code,long",
        "1,a.png,zebra,1,2020-01-01,007,12345678901234567890",
        "2,./sub/b,ant,-.5e1,x,1,1",
        "3,c_d,ant,,y,2,",
    ]
    (tmp_path / "labels.csv").write_text("\ufeff" + "\n".join(rows))
    source = open_source(tmp_path, tmp_path / "labels.csv")
    assert source.classes == ("ant", "zebra")
    items = by_key(source)
    assert sorted(items) == ["a", "c_d", "sub/b"]
    assert items["a"].fields == {
        "Name": 1,
        "label": 1,
        "score": 1.0,
        "when": "2020-01-01",
        "code": "007",
        "long": "12345678901234567890",
    }
    assert items["sub/b"].fields["label"] == 0
    assert items["sub/b"].fields["score"] == -5.0
    assert items["sub/b"].fields["code"] == "1"
    assert np.isnan(items["c_d"].fields["score"])


def test_rows_and_images_without_each_other_are_reported(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "l.csv").write_text("path,label\na.png,3\nc.png,4\n")
    source = open_source(folder, tmp_path / "l.csv")
    assert source.classes is None
    items = {item.path: item for item in source}
    assert items["a.png"].fields == {"label": 3}
    assert "no row of" in reason(items["b.png"])
    assert "not in the source" in reason(items["c.png"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\n", "no rows"),
        ("path,label\na.png\n", "line 2 has 1 cells"),
        ("path,label\nz.png,1\n", "no column names entries"),
        ("path,label\na.png,1\na,2\n", "two rows name"),
        ("path,latent\na.png,1\n", "'latent'"),
        ("path,x,x\na.png,1,2\n", "the same name"),
        ("path,label\na.png,\xff\n", "UTF-8"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path: Path, text: str, words: str) -> None:
    folder = fill(tmp_path / "images", "a.png")
    (tmp_path / "l.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArgumentError, match=words):
        open_source(folder, tmp_path / "l.csv")


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent\.csv"):
        open_source(fill(tmp_path, "a.png"), tmp_path / "absent.csv")


# ---- Zarr


def test_arrays_of_images(tmp_path: Path) -> None:
    import zarr

    stack = np.stack([pixels(i) for i in range(7)])
    cases = {
        "nhwc": (stack, stack),
        "nchw": (stack.transpose(0, 3, 1, 2), stack),
        "nhw": (stack[..., 0], np.repeat(stack[..., :1], 3, -1)),
        "deep": (stack.astype(np.uint16) * 257, stack),
        "floats": (stack.astype(np.float32) / 255, stack),
    }
    for name, (stored, expected) in cases.items():
        url = tmp_path / f"{name}.zarr"
        zarr.create_array(str(url), data=stored, chunks=(3, *stored.shape[1:]))
        source = open_source(url)
        assert (source.kind, len(source), source[3].key, source[3].fields) == ("zarr", 7, "000003", {})
        items = pickle.loads(pickle.dumps(source.items))
        for i in (0, 2, 3, 6, 1):
            np.testing.assert_array_equal(read_image(items[i].read()), expected[i], err_msg=name)


def test_a_remote_array(s3_server: dict[str, Any], tmp_path: Path) -> None:
    import zarr

    stack = np.stack([pixels(i) for i in range(5)])
    group = zarr.open_group(str(tmp_path), mode="w")
    group.create_array("images", data=stack, chunks=(2, *stack.shape[1:]))
    group.create_array("label", data=np.arange(5))
    local, remote = Location(tmp_path), Location("s3://bucket/arrays/g.zarr", s3_server)
    for name in local.list():
        remote.write(name, local.read(name))
    source = open_source("s3://bucket/arrays/g.zarr", storage_options=s3_server)
    assert (source.kind, [item.fields["label"] for item in source]) == ("zarr", [0, 1, 2, 3, 4])
    for i, item in enumerate(pickle.loads(pickle.dumps(source.items))):
        np.testing.assert_array_equal(read_image(item.read()), stack[i])


def test_a_remote_array_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr

    url = "memory://arrays/flaky.zarr"
    zarr.create_array(url, data=np.stack([pixels(i) for i in range(4)]), chunks=(2, 6, 6, 3))
    item = open_source(url)[3]
    failures = 2
    plain = zarr.Array.__getitem__

    def failing(self: Any, selection: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise TimeoutError("slow")
        return plain(self, selection)

    monkeypatch.setattr(zarr.Array, "__getitem__", failing)
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    np.testing.assert_array_equal(read_image(item.read()), pixels(3))
    failures = 99
    item = open_source(url)[3]
    with pytest.raises(StoreError, match=r"flaky\.zarr: still failing after 5 attempts: TimeoutError: slow"):
        item.read()


def test_options_for_the_other_end_do_no_harm_to_a_local_array(tmp_path: Path) -> None:
    import zarr

    zarr.create_array(str(tmp_path / "a.zarr"), data=np.stack([pixels(i) for i in range(2)]))
    source = open_source(tmp_path / "a.zarr", storage_options={"key": "of the target"})
    np.testing.assert_array_equal(read_image(source[1].read()), pixels(1))


def test_a_group_with_labels_and_keys(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("images", data=np.stack([pixels(i) for i in range(3)]))
    group.create_array("labels", data=np.array([5, 6, 7]))
    group.create_array("score", data=np.array([0.5, 1.5, 2.5], np.float32))
    group.create_array("elsewhere", data=np.arange(4))
    source = open_source(tmp_path / "g.zarr")
    assert [item.fields for item in source] == [
        {"label": 5, "score": 0.5},
        {"label": 6, "score": 1.5},
        {"label": 7, "score": 2.5},
    ]
    np.testing.assert_array_equal(read_image(source[2].read()), pixels(2))
    assert len(open_source(f"{tmp_path}/g.zarr/images")) == 3
    group.create_array("others", data=np.zeros((2, 4, 4), np.uint8))
    assert len(open_source(tmp_path / "g.zarr")) == 3


def test_fields_that_would_hide_what_a_batch_holds(tmp_path: Path) -> None:
    import zarr

    fill(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("file,pixels,mask\na.png,1,2\nb.png,3,4\n")
    with pytest.raises(ArgumentError, match="a field cannot be called 'pixels', since batches of images have an entry"):
        open_source(tmp_path, tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("file,waveform,mask\na.png,1,2\nb.png,3,4\n")
    assert open_source(tmp_path, tmp_path / "labels.csv")[0].fields["mask"] == 2
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("images", data=np.stack([pixels(i) for i in range(3)]))
    group.create_array("latent", data=np.arange(3))
    with pytest.raises(ArgumentError, match="a field cannot be called 'latent'"):
        open_source(tmp_path / "g.zarr")


def test_arrays_that_are_no_images(tmp_path: Path) -> None:
    import zarr

    zarr.create_array(str(tmp_path / "flat.zarr"), data=np.zeros((5, 4), np.uint8))
    zarr.create_array(str(tmp_path / "wide.zarr"), data=np.zeros((5, 9, 9, 9), np.uint8))
    zarr.create_array(str(tmp_path / "long.zarr"), data=np.zeros((5, 9, 9), np.int64))
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    zarr.open_group(str(tmp_path / "store.zarr"), mode="w").attrs["latentstore"] = {}
    for name, words in {
        "flat": "holds no images",
        "wide": "holds no images",
        "long": "int64",
        "empty": "no array of images",
        "store": "a latentstore store already",
    }.items():
        with pytest.raises(ArgumentError, match=words):
            open_source(tmp_path / f"{name}.zarr")


def test_a_damaged_chunk_names_its_row(tmp_path: Path) -> None:
    import zarr

    url = tmp_path / "a.zarr"
    zarr.create_array(str(url), data=np.stack([pixels(i) for i in range(4)]), chunks=(2, 6, 6, 3))
    (url / "c/1/0/0/0").write_bytes(b"nothing")
    source = open_source(url)
    np.testing.assert_array_equal(read_image(source[1].read()), pixels(1))
    with pytest.raises(StoreError, match="row 2 cannot be read"):
        source[2].read()


def test_bad_items_say_why() -> None:
    assert reason(BadItem("k", "p", reason="because")) == "because"
