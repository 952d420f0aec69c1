"""torch, for tests that need it; where it is not installed, importing this skips them.

This is the one place that does: on a Python that has no torch yet, everything else is tested.
"""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: batches are torch tensors")
