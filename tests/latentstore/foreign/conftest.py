"""One thread of torch: the networks are tiny, and threads that wait for each other take longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch_or_skip import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
