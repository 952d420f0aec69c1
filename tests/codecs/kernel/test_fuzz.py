"""Some seconds of the kernel's fuzzers under sanitizers; `tests/fuzz/kernel/run.sh` runs them for longer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

RUN = ROOT / "tests" / "fuzz" / "kernel" / "run.sh"


def can_sanitize(folder: Path) -> bool:
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler) or not shutil.which("bash"):
        return False
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [compiler, "-fsanitize=address,undefined", str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_fuzz_the_kernel(tmp_path: Path) -> None:
    """Random calls, then every target: with libFuzzer where clang has it, else with the corpus alone."""
    if not can_sanitize(tmp_path):
        pytest.skip("no C compiler with AddressSanitizer was found")
    environment = {**os.environ, "BUILD": str(tmp_path), "OPTIMISE": "-O0"}
    done = subprocess.run(["bash", RUN, "suite", "1"], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert done.stdout.count("nothing found") == 9
