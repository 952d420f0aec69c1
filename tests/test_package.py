"""What a user meets before any image: importing, versions, installing with and without a compiler."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pickle
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

import latentstore
from latentstore.codecs import errors, shipped


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_is_light() -> None:
    code = "import latentstore, sys; print(*(set(sys.modules) & {'torch', 'dask', 'zarr', 'PIL', 'fsspec'}))"
    assert fresh(code).strip() == ""


def test_codecs_and_listing_load_no_torch() -> None:
    imports = "import latentstore.codecs, latentstore.sources, latentstore.loaders, sys"
    code = f"{imports}; print('torch' in sys.modules)"
    assert fresh(code).strip() == "False"


def test_every_public_name_is_there() -> None:
    # batches of a mixture are torch tensors
    needs_torch = set() if importlib.util.find_spec("torch") else {"mix"}
    for name in set(latentstore.__all__) - needs_torch:
        assert getattr(latentstore, name) is not None
    assert set(latentstore.__all__) <= set(dir(latentstore))
    assert callable(latentstore.open)
    assert callable(latentstore.convert)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        latentstore.nothing  # noqa: B018


def test_there_is_one_version() -> None:
    assert importlib.metadata.version("latentstore") == latentstore.__version__


def test_errors_have_one_base_and_pickle() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, latentstore.LatentstoreError)
        again = pickle.loads(pickle.dumps(kind("why", index=3)))
        assert (str(again), again.index, kind("why").index) == ("why", 3, None)
    assert issubclass(latentstore.ArgumentError, ValueError)
    assert issubclass(latentstore.TruncatedError, latentstore.CorruptError)


def build_wheel(folder: Path, **environment: str) -> tuple[Path, str]:
    """(the wheel of this tree, what its build printed)."""
    tree = folder / "tree"
    tree.mkdir()
    for name in ("latentstore", "codecs", "loaders", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (tree / name).symlink_to(ROOT / name)
    code = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return wheel, done.stdout + done.stderr


def test_a_wheel_without_a_compiler_is_whole_but_for_the_kernel(tmp_path: Path) -> None:
    wheel, printed = build_wheel(tmp_path, CC="false", LATENTSTORE_REQUIRE_KERNEL="0")
    assert "THE NATIVE KERNEL WAS NOT BUILT" in printed
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"latentstore/py.typed", "latentstore/codecs/errors.py", "latentstore/sources/tars/listing.py"} <= names
    assert {name.split("/")[-1].removesuffix(".safetensors") for name in names if "/shipped/" in name} == set(shipped())
    assert not any(name.endswith((".so", ".c")) or name.startswith("codecs/") for name in names)
    (top,) = (name for name in names if name.endswith("top_level.txt"))
    assert zipfile.ZipFile(wheel).read(top).split() == [b"latentstore"]


def test_a_kernel_that_is_required_must_compile(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="false"):
        build_wheel(tmp_path, CC="false", LATENTSTORE_REQUIRE_KERNEL="1")


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="free-threaded Python has no limited API")
def test_the_kernel_here_uses_the_limited_api() -> None:
    kernel = pytest.importorskip("latentstore.codecs._kernel", reason="no kernel was built here")
    assert ".abi3." in Path(kernel.__file__).name
