"""What tests of several rooms of the loaders share."""

from __future__ import annotations

from typing import Any

import pytest

from latentstore.loaders.remote.client import Client
from latentstore.loaders.remote.ranges import Range


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Range]:
    """All ranges that are read of stores from now on, after they are merged. What a cache answers is not among them."""
    found: list[Range] = []
    for name in ("ranges", "fill"):

        def noting(self: Client, ranges: Any, *rest: Any, plain: Any = getattr(Client, name)) -> Any:  # noqa: B008
            found.extend(ranges)
            return plain(self, ranges, *rest)

        monkeypatch.setattr(Client, name, noting)
    return found
