"""Runs every benchmark here, one after the other, and writes docs/benchmarks.md with what they print.

    python -m benchmarks.run_all [--only NAME ...]      # such as images.rate_distortion

Exits with 1 if a bar is missed; `--only` leaves the other sections of the page as they are.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "images.rate_distortion",
    "images.quality_knob",
    "images.lossless_latents",
    "images.entropy_speed",
    "images.encode_speed",
    "images.decode_speed",
    "images.decoders",
    "stores.loader_speed",
    "stores.convert_speed",
    "stores.overhead",
    "stores.sync",
    "stores.zarr_prefix_bytes",
    "stores.zarr_codecs",
    "tensors.lossless",
    "tensors.step",
    "tensors.codes",
    "tensors.loading",
    "tensors.writing",
    "streaming.order",
    "streaming.padding",
    "audio.rate",
    "audio.speech",
    "audio.speed",
    "audio.decoders",
    "stores.audio_loader",
    "streaming.object_clients",
    "streaming.object_storage",
    "streaming.loader_peers",
    "streaming.threads",
    "learning.audio",
    "learning.images",
)
ARGUMENTS = {"learning.images": ["--device", "cuda"]}
"""What a script is given. One that needs a GPU runs only where `--only` names it."""
REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Printed by `python -m benchmarks.run_all`: our figures and the peers' from the same run on the same data and
machine, one thread unless the heading says otherwise. Ratios travel to other machines, absolute speeds do
not. Losing rows stay.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, metavar="NAME")
    chosen = parser.parse_args().only
    sections, failed = written(), []
    for name in chosen or [script for script in SCRIPTS if script not in ARGUMENTS]:
        print(f"... {name}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", *ARGUMENTS.get(name, [])],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(done.stdout, flush=True)
        shown = " ".join([f"python -m benchmarks.{name}", *ARGUMENTS.get(name, [])])
        title, _, rest = done.stdout.partition("\n")
        sections[name] = f"#{title}\n\n`{shown}`\n\n```text\n{rest.strip()}\n```\n"
        # a script that broke, or was stopped half-way, leaves the page as it was
        if done.returncode not in (0, 1) or not rest:
            sys.exit(f"broken: {name}")
        if done.returncode:
            failed.append(name)
        TARGET.write_text("\n".join([INTRODUCTION, *(sections[n] for n in SCRIPTS if n in sections)]))
    if failed:
        sys.exit(f"missed: {', '.join(failed)}")


def written() -> dict[str, str]:
    """The sections of the page as it stands, by script."""
    text = TARGET.read_text() if TARGET.exists() else ""
    found = re.findall(
        r"^(## .*?\n\n`python -m benchmarks\.([\w.]+).*?^```\n)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return {name: section for section, name in found}


if __name__ == "__main__":
    main()
