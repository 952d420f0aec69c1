"""docs/zarr.md: its code runs; its example, its schemas and its bytes are what the codecs write."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from paths import ROOT
from PIL import Image
from zarr.storage import MemoryStore
from zarr_arrays import images, latents

import latentstore
from latentstore.codecs.arrays.numcodecs_codec import LatentV2
from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import LatentstoreError

DOCS = ROOT / "docs"
PAGE = (DOCS / "zarr.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings("ignore:.*:zarr.errors.ZarrUserWarning")
def test_every_code_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("dask", "xarray"):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    python = blocks("python")
    assert len(python) == 9
    for n in range(12):
        image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3) + n
        Path("photos", "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(f"photos/{'ab'[n % 2]}/{n}.png")
    latentstore.convert("photos", "given.zarr", size=64)
    for number, block in enumerate(python):
        if number == 2:  # a store that somebody gave you
            assert names["one"].shape == (12, 8, 8) and names["images"].shape == (3, 64, 64, 3)
            assert names["ds"].classes == ["a", "b"]
        assert "10_000" not in block or block.count("10_000") == 1
        exec(compile(block.replace("10_000", "1_700"), "docs/zarr.md", "exec"), names)
    assert names["image"].shape == (64, 96, 3) and names["corner"].shape == (300, 300, 3)
    assert names["decoded"].shape == (4, 64, 96, 3) and names["one"].shape == (64, 96, 3)
    assert np.array_equal(names["first"], names["latents"][:, :12])
    copied = zarr.open_array("other.zarr", path="train/image")[...]
    assert np.array_equal(copied, zarr.open_array("copy.zarr", path="image")[...])
    assert np.array_equal(copied, names["z"][...])


def schema(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    text = (DOCS / "zarr-schema" / f"{name}.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("kind", ["signal", "latent"])
def test_the_schema_is_what_the_codec_takes_and_gives(codec: Any, kind: str) -> None:
    valid = schema(f"latentstore.{kind}")
    cls: Any = SignalCodec if kind == "signal" else LatentCodec
    made = SignalCodec.of(codec, "nhwc") if kind == "signal" else LatentCodec.of(codec)
    good = json.loads(json.dumps(made.to_dict()))
    assert valid.is_valid(good) and cls.from_dict(good) == made
    configuration = good["configuration"]
    changes: list[tuple[str, Any]] = [(key, None) for key in configuration]
    changes += [
        ("version", 2),
        ("artifact", {"name": "x"}),
        ("artifact", {"name": "x", "sha256": "A" * 64}),
        ("more", 1),
    ]
    if kind == "signal":
        changes += [("axes", a) for a in ("", "nhc", "hwhw", "hwcc", "nhwx", "NHWC", 3)]
        changes += [("quality", q) for q in (0, 101, 50.5, "50")] + [
            ("effort", "best"),
            ("partial_writes", True),
        ]
        for axes in ("hw", "nnhw", "chwn", "wh"):
            data = {**good, "configuration": {**configuration, "axes": axes}}
            assert valid.is_valid(data) and cls.from_dict(data)
    for key, value in changes:
        bad = {k: v for k, v in configuration.items() if k != key} | ({} if value is None else {key: value})
        data = {"name": good["name"], "configuration": bad}
        assert not valid.is_valid(data), data
        with pytest.raises(LatentstoreError):
            cls.from_dict(data)


def test_the_example_is_valid() -> None:
    (example,) = map(json.loads, blocks("json"))
    assert schema("latentstore.signal").is_valid(example)
    assert SignalCodec.from_dict(example).to_dict() == example


def parse(data: bytes) -> dict[str, Any]:
    """A chunk, read from the page's table alone."""
    d = data[9]
    words = np.frombuffer(data[10 : 10 + 4 * (d + 1)], "<u4").tolist()
    p = words[d]
    end = 14 + 4 * d + 4 * p
    lengths = np.frombuffer(data[14 + 4 * d : end], "<u4").tolist()
    assert int.from_bytes(data[end : end + 4], "little") == crc32c(data[:end])
    ends = np.cumsum([end + 4, *lengths]).tolist()
    assert ends[-1] == len(data)
    return {
        "magic": data[:2], "version": data[2] >> 4, "kind": data[2] & 15, "flags": data[3],
        "artifact": data[4:8].hex(), "fill": data[8], "shape": tuple(words[:d]),
        "parts": [data[a:b] for a, b in pairwise(ends)],
    }  # fmt: skip


def test_the_bytes_are_those_of_the_page(codec: Any) -> None:
    store = MemoryStore()
    x = images(3, 16, 24)
    x[1] = 7
    x[2, 9:], x[2, :, 20:] = 7, 7
    z = zarr.create_array(
        store, shape=x.shape, chunks=(2, 16, 24, 3), dtype="uint8", fill_value=7, compressors=None,
        serializer=SignalCodec.of(codec, "nhwc"),
    )  # fmt: skip
    z[...] = x
    first, second = (parse(store._store_dict[f"c/{i}/0/0/0"].to_bytes()) for i in (0, 1))
    expected = {
        "magic": b"LA", "version": 1, "kind": 0, "flags": 0, "artifact": codec.sha256[:8], "fill": 7,
        "shape": (2, 16, 24, 3),
    }  # fmt: skip
    assert first == expected | {"parts": [codec.compress(x[0]), b""]}
    assert second == expected | {"parts": [codec.compress(np.ascontiguousarray(x[2, :9, :20])), b""]}
    y = latents(1, 4, 5, 20)
    chunk = parse(LatentV2.of(codec, fill_value=-3).encode(np.asfortranarray(y)))
    groups = [y[0, :12], np.concatenate([y[0, 12:], np.zeros((4, 4, 5), np.int8)])]
    assert (chunk["kind"], chunk["flags"], chunk["fill"], chunk["shape"]) == (1, 1, 253, (1, 20, 4, 5))
    assert chunk["parts"] == [codec.entropy.encode(group) for group in groups]


def test_the_words_for_an_unknown_codec_are_those_of_zarr(tmp_path: Path) -> None:
    """The page quotes what the installed zarr says where latentstore is not installed."""
    zarr.create_array(tmp_path / "x.zarr", shape=(4,), chunks=(4,), dtype="uint8", compressors=None)
    metadata = tmp_path / "x.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"name": "bytes"', '"name": "latentstore.unknown"'))
    with pytest.raises(ValueError, match=r"latentstore\.unknown") as caught:
        zarr.open_array(tmp_path / "x.zarr", mode="r")
    said = str(caught.value).replace("latentstore.unknown", "latentstore.signal")
    assert said in " ".join((DOCS / "zarr.md").read_text().split())
