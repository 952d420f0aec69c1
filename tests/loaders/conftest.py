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
    plain = Client.ranges

    def noting(self: Client, ranges: Any) -> Any:
        found.extend(ranges)
        return plain(self, ranges)

    monkeypatch.setattr(Client, "ranges", noting)
    return found
