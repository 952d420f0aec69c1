"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["usable_cores"]

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores of the machine, or fewer where the process is bound to some of them or its container has a limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = container_limit(CGROUPS)
    return cores if limit is None else max(1, min(cores, limit))


def container_limit(groups: Path) -> int | None:
    """The limit of Linux control groups, in cores, rounded up; None without one. groups: where they are mounted."""
    try:
        quota, period = (groups / "cpu.max").read_text().split()
    except (OSError, ValueError):  # version 1 of control groups, or none at all
        try:
            quota, period = ((groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max" says that there is no limit
        return None
    return -int(-share // 1) if share > 0 else None
