"""Fuzzes the targets of `targets.py`: run.py TARGET|all [RUNS [SEED]], from the corpus on.

--keep adds what reached new lines to the corpus. An input that finds something is written to the folder `found`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "support")]

from corpus import read_corpus, write_corpus  # noqa: E402
from guided import FindingError, fuzz  # noqa: E402
from imported import SEEDS as IMPORTED_SEEDS  # noqa: E402
from imported import TARGETS as IMPORTED  # noqa: E402
from targets import SEEDS as OWN_SEEDS  # noqa: E402
from targets import TARGETS as OWN  # noqa: E402
from targets import checksums_match  # noqa: E402

SEEDS = {**OWN_SEEDS, **IMPORTED_SEEDS}
TARGETS = {**OWN, **IMPORTED}


def run(name: str, runs: int, seed: int = 0) -> list[bytes]:
    """Fuzzes one target; the inputs to keep. FindingError if there is one."""
    seeds = [*SEEDS[name](), *read_corpus("python", name)]
    with checksums_match():
        return fuzz(TARGETS[name], seeds, runs, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"], nargs="?", default="all")
    parser.add_argument("runs", type=int, nargs="?", default=20_000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    kept: dict[str, list[bytes]] = {}
    for name in TARGETS if given.target == "all" else [given.target]:
        start = time.perf_counter()
        try:
            kept[name] = run(name, given.runs, given.seed)
        except FindingError as finding:
            Path("found").mkdir(exist_ok=True)
            Path("found", name).write_bytes(finding.data)
            print(f"{name}: {finding}; the input is in found/{name}")
            raise
        took = time.perf_counter() - start
        print(f"{name}: {given.runs} runs, {given.runs / took:.0f} a second, {len(kept[name])} inputs, nothing found")
    if given.keep:
        write_corpus("python", {name: kept.get(name, read_corpus("python", name)) for name in TARGETS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
