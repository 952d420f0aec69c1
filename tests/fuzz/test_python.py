"""The corpus of what is Python, and a few seconds of its fuzzer, in a process whose memory is limited."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_fuzz_what_is_python(tmp_path: Path) -> None:
    command = [sys.executable, HERE / "python" / "run.py", "all", "300", "7"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count("nothing found") == 19


def test_the_fuzzer_finds(tmp_path: Path) -> None:
    """A target with a mistake three changes away is found out, and so is one that takes memory by a number."""
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from guided import FindingError, fuzz
from latentstore.codecs.bitstream.varint import read_varint

def careless(data):
    value, at = read_varint(data, 0, 5)
    if value > 1 << 20:
        data[at]

def greedy(data):
    np.empty(read_varint(data, 0, 5)[0], np.int64).fill(1)

for target in (careless, greedy):
    try:
        fuzz(target, [bytes([5])], 20000)
    except FindingError as finding:
        print(finding)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, HERE / "python"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert "IndexError" in done.stdout and "MemoryError" in done.stdout, done.stdout + done.stderr[-3000:]
