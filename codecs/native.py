"""The native kernel, or the reference in its place: everything that calls it asks here."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any

__all__ = ["backend", "kernel", "kernel_path"]

kernel: ModuleType | None
try:
    kernel = importlib.import_module("latentstore.codecs._kernel")
except ImportError as error:
    kernel = None
    warnings.warn(
        f"latentstore runs without its native kernel, in Python, hundreds of times slower ({error}). "
        "Install a C compiler and install latentstore again.",
        RuntimeWarning,
        stacklevel=2,
    )


def backend() -> Any:
    """The kernel, or without one the module of the reference that has its functions."""
    return kernel if kernel is not None else importlib.import_module("latentstore.codecs.reference.stand_in")


def kernel_path() -> str:
    """The vector path in use ("avx512", "avx2", "neon", "portable"), or "reference" without a kernel."""
    return "reference" if kernel is None else str(kernel.kernel_path())
