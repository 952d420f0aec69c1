"""Files of tensors: what their programs write is read bit for bit, and what may do harm is refused in a sentence."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tensor_files import RAN, Hostile, npy, npz, safetensors, tensor_pickle, torch_zip

from latentstore.codecs.errors import SignalError
from latentstore.importing.files.kohya import name_of, resolutions
from latentstore.importing.files.read import TENSORS, read_tensors

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?", ">f4", ">i2"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (7,), (2, 3, 4, 5)])
def test_arrays_come_back(kind: str, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 2, shape).astype(kind)
    for data, extension, name in (
        (npy(array), "npy", "tensor"),
        (npz(a=array), "npz", "a"),
        (npz(compressed=True, a=array), "npz", "a"),
    ):
        found = read_tensors(extension, data)[name]
        assert isinstance(found, np.ndarray)
        assert found.dtype == array.dtype and found.shape == array.shape and (found == array).all()


def test_order_of_fortran() -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert (read_tensors("npy", npy(array))["tensor"] == array).all()


def test_without_axes_is_a_value() -> None:
    found = read_tensors("npz", npz(a=np.array(3), b=np.array(0.5), c=np.array("é"), d=np.array(True)))
    assert found == {"a": 3, "b": 0.5, "c": "é", "d": 1} and type(found["d"]) is int


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.array([{}], object)), "pickle"),
        (npy(np.zeros(3, [("a", "f4")])), "no array of numbers"),
        (npy(np.zeros(9))[:-1], "claims the shape"),
        (npy(np.zeros(9))[:20], "damaged"),
        (b"", "no .npy file"),
        (npy(np.zeros(9)).replace(b"(9,)", b"(8,)"), "claims the shape"),
        (npy(np.zeros(9)).replace(b"\x01\x00", b"\x07\x00", 1), "of version 1.0 or 2.0"),
    ],
)
def test_odd_npy(data: bytes, reason: str) -> None:
    with pytest.raises(SignalError, match=reason):
        read_tensors("npy", data)


def bomb() -> bytes:
    """A ``.npz`` of little more than a kilobyte that claims 2 GB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(np.zeros(100_000)))
    data = bytearray(stream.getvalue())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1 << 31)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bomb(), "claims 2147483648 bytes"),
        (npz(a=np.array([{}], object)), "its array 'a'.*pickle"),
        (npz(a=np.zeros(5))[:-30], "no .npz file"),
        (torch_zip(b"", {}), "which is no array"),
    ],
)
def test_odd_npz(data: bytes, reason: str) -> None:
    tracemalloc.start()
    with pytest.raises(SignalError, match=reason):
        read_tensors("npz", data)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_an_empty_archive() -> None:
    with pytest.raises(SignalError, match="no tensor"):
        read_tensors("npz", npz())


def test_safetensors() -> None:
    pytest.importorskip("torch")
    import torch
    from safetensors.torch import save

    made = {
        "a": torch.randn(3, 4).bfloat16(), "b": torch.arange(5), "c": torch.tensor(2.5), "d": torch.zeros(0, 3),
        "e": torch.ones(2).bool(),
    }  # fmt: skip
    found = read_tensors("safetensors", save(made, {"note": "x"}))
    assert (found["a"].view(np.int16) == made["a"].view(torch.int16).numpy()).all()  # type: ignore[union-attr]
    assert (found["b"] == made["b"].numpy()).all() and found["c"] == 2.5
    assert found["d"].shape == (0, 3) and found["e"].dtype == bool  # type: ignore[union-attr]


F4 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"a": {**F4, "shape": [3]}}, "claims the shape"),
        ({"a": {**F4, "shape": [1 << 40, 1 << 40]}}, "claims the shape"),
        ({"a": {**F4, "shape": [-2]}}, "has the shape"),
        ({"a": {**F4, "data_offsets": [0, 80]}}, "cut short"),
        ({"a": {**F4, "data_offsets": [8, 0]}}, "claims the shape"),
        ({"a": {**F4, "dtype": "F8_E4M3"}}, "not stored"),
        ({"a": {**F4, "dtype": [1]}}, "not stored"),
        ({"a": 7}, "has the shape"),
        ([1], "no object"),
        (b"{", "damaged"),
        (b'{"a": {"dtype": "F32"}, "a": {"dtype": "F32"}}', "a name stands there twice"),
        (b"[" * 100_000, "damaged"),
        ({}, "no tensor"),
    ],
)
def test_odd_safetensors(header: Any, reason: str) -> None:
    with pytest.raises(SignalError, match=reason):
        read_tensors("safetensors", safetensors(header, bytes(8)))


def test_safetensors_cut_short() -> None:
    for data in (b"", b"abc", (1 << 60).to_bytes(8, "little") + bytes(9)):
        with pytest.raises(SignalError, match="longer than the file"):
            read_tensors("safetensors", data)


def test_what_torch_saves() -> None:
    torch: Any = pytest.importorskip("torch")

    def saved(value: Any, **options: Any) -> dict[str, Any]:
        stream = io.BytesIO()
        torch.save(value, stream, **options)
        return read_tensors("pt", stream.getvalue())

    turned = torch.arange(12).reshape(3, 4).t()[1:]
    with pytest.raises(SignalError, match=r"stands for other values than are there .*neg"):
        saved(torch.ones(3, dtype=torch.complex64).conj().imag)
    several = [
        turned, torch.randn(5), torch.zeros(0, 2), torch.randn(4).half(), torch.ones(3, dtype=torch.int8),
        torch.tensor([True]), torch.randn(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.int16),
    ]  # fmt: skip
    for tensor in several:
        found = saved(tensor)["tensor"]
        assert found.shape == tuple(tensor.shape) and (found == tensor.numpy()).all()
    small = torch.randn(6).bfloat16()
    found = saved(
        {"a": small, "b": torch.nn.Parameter(torch.ones(2)), "n": 3, "f": 0.5, "s": "é", "r": b"\xff", "t": True}
    )
    assert (
        found["a"].dtype == ml_dtypes.bfloat16 and (found["a"].view(np.int16) == small.view(torch.int16).numpy()).all()
    )
    assert (found["b"] == 1).all() and [found[n] for n in "nfsrt"] == [3, 0.5, "é", b"\xff", 1]
    state = torch.nn.Linear(2, 3).state_dict()
    assert saved(state).keys() == state.keys()
    assert (saved({"a": turned}, pickle_protocol=4)["a"] == turned.numpy()).all()
    odds: list[tuple[Any, str]] = [
        ([small], "holds list"),
        ({"a": {"b": small}}, "is a dict"),
        ({1: small}, "names of tensors"),
        ({"a": None}, "NoneType"),
        ({"a": torch.float32}, "torch.float32"),
        ({"a": np.ones(2)}, "multiarray"),
    ]
    for odd, reason in odds:
        with pytest.raises(SignalError, match=reason):
            saved(odd)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (torch_zip(pickle.dumps(Hostile(), 2), {}), "asks for posix.putenv|asks for nt.putenv"),
        (torch_zip(pickle.dumps({"a": Hostile()}, 4), {}), "putenv.*nothing of it was run"),
        (pickle.dumps(Hostile()), "no file that torch.save"),
        (torch_zip(tensor_pickle((4,), (1,), 0, 4), {"0": bytes(15)}), "claims 4 values"),
        (torch_zip(tensor_pickle((4,), (1,), 1, 4), {"0": bytes(16)}), "claims the shape"),
        (torch_zip(tensor_pickle((1 << 38,), (0,), 0, 4), {"0": bytes(16)}), "claims the shape"),
        (torch_zip(tensor_pickle((2,), (-1,), 1, 4), {"0": bytes(16)}), "strides"),
        (torch_zip(tensor_pickle((4,), (1,), 0, 1 << 60), {"0": bytes(16)}), "claims"),
        (torch_zip(tensor_pickle((4,), (1,), 0, 4), {}), "missing"),
        (torch_zip(tensor_pickle((4,), (1,), 0, 4), {"0": bytes(16)}, zipfile.ZIP_DEFLATED), "compressed"),
        (torch_zip(b"\x80\x02r\xff\xff\xff\xff.", {}), "damaged"),
        (torch_zip(b"\x80\x02}(((.", {}), "damaged|holds"),
        (torch_zip(b"\x80\x02", {}), "damaged"),
        (torch_zip(b"cos\nsystem\n.", {}), "os.system"),
        (torch_zip(b"(ios\nsystem\n.", {}), "the step INST"),
        (torch_zip(b"\x8a\xff" + bytes(254) + b"\x7f.", {}), "64 bits"),
        (npz(a=np.zeros(3)), "data.pkl"),
    ],
)  # fmt: skip
def test_hostile_torch_files(data: bytes, reason: str) -> None:
    tracemalloc.start()
    with pytest.raises(SignalError, match=reason):
        read_tensors("pth", data)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert os.environ.get(RAN) is None


def test_the_pickle_that_tests_make_is_right() -> None:
    values = np.arange(12, dtype="<f4")
    found = read_tensors("pt", torch_zip(tensor_pickle((2, 3), (6, 2), 1, 12), {"0": values.tobytes()}))["tensor"]
    assert (found == [[1, 3, 5], [7, 9, 11]]).all()


def test_no_changed_byte_does_more_than_refuse() -> None:
    files = {
        "npy": npy(np.arange(12.0).reshape(3, 4)),
        "npz": npz(a=np.arange(12.0), b=np.ones(3, "i2")),
        "safetensors": safetensors({"a": F4}, bytes(8)),
        "pt": torch_zip(tensor_pickle((2, 3), (6, 2), 1, 12), {"0": bytes(48)}),
    }
    rng = np.random.default_rng(1)
    for extension, good in files.items():
        assert extension in TENSORS
        for _ in range(400):
            bad = bytearray(good)
            for at in rng.integers(0, len(bad), int(rng.integers(1, 4))).tolist():
                bad[at] = int(rng.integers(0, 256))
            try:
                read_tensors(extension, bytes(bad[: int(rng.integers(0, 2 * len(bad)))]))
            except SignalError as error:
                assert "\n" not in str(error)


def test_names_of_caches() -> None:
    assert name_of("a/im_1_0512x0768_sdxl") == "a/im_1"
    assert name_of("im_te_outputs") == "im" == name_of("im_sd3_te")
    assert name_of("im_v2") == "im_v2"
    both = {"latents_4x6": 1, "latents_8x8": 2, "crop_ltrb_4x6": 3, "note": 4}
    assert resolutions(both) == {"4x6": {"note": 4, "latents": 1, "crop_ltrb": 3}, "8x8": {"note": 4, "latents": 2}}
    assert resolutions({"latents": 1, "crop_ltrb_4x6": 2}) == {"": {"latents": 1, "crop_ltrb_4x6": 2}}
