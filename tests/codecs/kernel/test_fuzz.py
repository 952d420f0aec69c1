"""A few seconds of the kernel's fuzzer under sanitizers; `tests/fuzz/run.sh SECONDS SEED` runs it for longer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "fuzz" / "run.sh"


def can_sanitize(folder: Path) -> bool:
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler) or not shutil.which("bash"):
        return False
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [compiler, "-fsanitize=address,undefined", str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_fuzz_the_kernel(tmp_path: Path) -> None:
    if not can_sanitize(tmp_path):
        pytest.skip("no C compiler with AddressSanitizer was found")
    environment = {**os.environ, "BUILD": str(tmp_path)}
    done = subprocess.run(["bash", str(RUN), "5", "1"], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert "nothing found" in done.stdout
