"""Tables of two columns, and the line about the kernel, which they end with."""

from __future__ import annotations

from collections.abc import Sequence

from latentstore.codecs.native import kernel_path

__all__ = ["kernel", "table"]


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of a name and a value, as text."""
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows)


def kernel() -> str:
    """Which code decodes here; in capitals if it is the slow one."""
    name = kernel_path()
    if name == "reference":
        return "NONE: THE SLOW PYTHON REFERENCE RUNS; install again where there is a C compiler"
    return f"native ({name})"
