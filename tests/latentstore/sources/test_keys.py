"""Keys that can name no file, and keys that some systems cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from class_folders import converted, fill, png, report, told, write

from latentstore.sources.item import BadItem, Item
from latentstore.sources.keys import check_keys


def kinds(*keys: str) -> dict[str, int]:
    items, remarks = check_keys([Item(key, f"path of {key}") for key in keys])
    assert not any(isinstance(item, BadItem) for item in items)
    return {one.kind: one.count for one in remarks}


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", ".", "..", "a/../b", "./a", "a\0b"])
def test_keys_that_can_name_no_file(key: str) -> None:
    (item,), remarks = check_keys([Item(key, "p")])
    assert isinstance(item, BadItem) and "can name no file" in item.reason and remarks == ()


def test_plain_keys_are_not_told_of() -> None:
    assert kinds("cat/naïve 图片 (1)", "a", "a/b", "second/icon", "12 a..b/c", "console", "x/auxiliary", "a.b/c") == {}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("x" * 256,), "key-long"),
        (("x" * 252,), "key-long"),
        (("é" * 126 + "x",), "key-long"),
        (("x" * 256 + "/a",), "key-long"),
        (("a\nb",), "key-control"),
        (("a\u202eb",), "key-control"),
        (("aux",), "key-windows"),
        (("a/Com1/b",), "key-windows"),
        (("a /b",), "key-windows"),
        (("a./b",), "key-windows"),
        (("a ",), "key-windows"),
        (("12:30",), "key-windows"),
        (("a\\b",), "key-windows"),
        (("Cat/1", "cat/1"), "key-case"),
        (("caf\u00e9", "cafe\u0301"), "key-case"),
        (("a", "a.png/b/c"), "key-folder"),
    ],
)
def test_keys_that_are_told_of(keys: tuple[str, ...], expected: str) -> None:
    assert kinds(*keys) == {expected: 1}


def test_keys_that_are_long_but_fit() -> None:
    assert kinds("x" * 251, "y" * 255 + "/z") == {}


def test_a_conversion_finds_them(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("images", data=np.zeros((5, 8, 8, 3), np.uint8))
    keys = group.create_array("key", shape=(5,), dtype=str)
    keys[:] = np.array(["a/../../x", "/etc/x", "", "fine", "nul"], dtype=object)
    target = tmp_path / "x.zarr"
    assert list(converted(tmp_path / "g.zarr", target, status=3)) == ["fine", "nul"]
    assert report(target)["left_out"] == 3 and told(target) == {"key-windows": 1}
    source = fill(tmp_path / "s", "A.png", "a.jpg", "b.png")
    write(source / ("n" * 255), png(9))
    converted(source, tmp_path / "y.zarr")
    assert told(tmp_path / "y.zarr") == {"key-case": 1, "key-long": 1}
