"""Which writer a target gets."""

from __future__ import annotations

import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.writing.open import store_format


def test_names_tell_the_format() -> None:
    assert store_format("a/b.zarr") == "zarr" and store_format("a/x-{000000..}.tar") == "wds"
    assert store_format("a/b", "wds") == "wds" and store_format("s3://x/y.zarr/") == "zarr"
    for target, format in (("a/b", None), ("a/b.zarr", "wds"), ("a/b", "hdf5")):
        with pytest.raises(ArgumentError):
            store_format(target, format)
