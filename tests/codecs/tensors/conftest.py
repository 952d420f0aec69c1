"""What the tests of tensors share: every path of the kernel, and the reference in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from latentstore.codecs import native
from latentstore.codecs.reference import stand_in


@pytest.fixture(params=["reference", *(native.kernel.kernel_paths() if native.kernel else [])])
def path(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of what runs: each path in turn."""
    if request.param == "reference":
        monkeypatch.setattr(native, "kernel", None)
        assert native.backend() is stand_in
        yield request.param
        return
    assert native.kernel is not None
    native.kernel.force_path(request.param)
    yield request.param
    native.kernel.force_path(None)
