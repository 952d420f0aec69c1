"""The native kernel, or None where it was not built: everything that calls it asks here."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

__all__ = ["kernel", "kernel_path"]

kernel: ModuleType | None
try:
    kernel = importlib.import_module("._kernel", __package__)
except ImportError as error:
    kernel = None
    warnings.warn(
        f"latentstore runs without its native kernel, in Python, hundreds of times slower ({error}). "
        "Install a C compiler and install latentstore again.",
        RuntimeWarning,
        stacklevel=2,
    )


def kernel_path() -> str:
    """The vector path in use ("avx512", "avx2", "neon", "portable"), or "reference" without a kernel."""
    return "reference" if kernel is None else str(kernel.kernel_path())
