"""Run every benchmark here, one after the other, and write docs/benchmarks.md with what they print.

    python benchmarks/run_all.py [--only NAME ...]

Exits with 1 if a bar is missed; `--only` prints without writing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "rate_distortion",
    "lossless_latents",
    "entropy_speed",
    "encode_speed",
    "decode_speed",
    "loader_speed",
    "convert_speed",
    "overhead",
    "zarr_prefix_bytes",
    "zarr_codecs",
)
HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Printed by `python benchmarks/run_all.py`: our figures and the peers' from the same run on the same data and
machine, one thread unless the heading says otherwise. Ratios travel to other machines, absolute speeds do
not. Losing rows stay.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, metavar="NAME")
    chosen = parser.parse_args().only
    sections, failed = [INTRODUCTION], []
    for name in chosen or SCRIPTS:
        print(f"... {name}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / f"{name}.py")],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(done.stdout, flush=True)
        title, _, rest = done.stdout.partition("\n")
        sections.append(f"#{title}\n\n`benchmarks/{name}.py`\n\n```text\n{rest.rstrip()}\n```\n")
        if done.returncode:
            failed.append(name)
    if not chosen:
        TARGET.write_text("\n".join(sections))
    if failed:
        sys.exit(f"missed or broken: {', '.join(failed)}")


if __name__ == "__main__":
    main()
