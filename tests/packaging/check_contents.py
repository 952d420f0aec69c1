"""Compares what an sdist and a wheel hold with what the repository holds; exits with 1 and names what differs.

    python tests/packaging/check_contents.py DIST

DIST is the folder that `python -m build` filled; run it from the top of the repository. The wheel is to hold every
module, every shipped artifact and decoder, the marker of typed packages and the kernel, and nothing else: no tests, no
sources of the kernel. The sdist is to hold every tracked file, and besides them what setuptools writes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# The folders at the top, and where a wheel has them.
PACKAGES = {"codecs/": "latentstore/codecs/", "loaders/": "latentstore/loaders/", "latentstore/": "latentstore/"}
DATA = (
    "latentstore/py.typed",
    "latentstore/evaluate/page/page.",
    "latentstore/codecs/artifact/shipped/",
    "latentstore/codecs/neural/trained/",
)
KERNEL = r"latentstore/codecs/_kernel\..*\.(so|pyd)"
WHEEL_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
SDIST_INFO = r"PKG-INFO|setup\.cfg|latentstore\.egg-info/.*"


def main() -> int:
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name}
    wrong = [*wheel_differences(wheel, tracked), *sdist_differences(sdist, tracked)]
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{wheel.name} and {sdist.name} hold what they should: {len(tracked)} tracked files")
    return bool(wrong)


def wheel_differences(wheel: Path, tracked: set[str]) -> list[str]:
    expected = set()
    for name in tracked:
        for start, package in PACKAGES.items():
            place = package + name.removeprefix(start)
            if name.startswith(start) and (name.endswith(".py") or place.startswith(DATA)):
                expected.add(place)
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    info = {name for name in found if re.fullmatch(r"latentstore-[^/]+\.dist-info/.*", name)}
    kernels = {name for name in found if re.fullmatch(KERNEL, name)}
    wrong = differences(wheel.name, found - info - kernels, expected)
    wrong += differences(f"{wheel.name}, dist-info", {name.split("/", 1)[1] for name in info}, WHEEL_INFO)
    return wrong + ([] if len(kernels) == 1 else [f"{wheel.name}: one kernel is expected, not {sorted(kernels)}"])


def sdist_differences(sdist: Path, tracked: set[str]) -> list[str]:
    with tarfile.open(sdist) as archive:
        files = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    return differences(sdist.name, {name for name in files if not re.fullmatch(SDIST_INFO, name)}, tracked)


def differences(where: str, found: set[str], expected: set[str]) -> list[str]:
    wrong = [f"{where} lacks {name}" for name in sorted(expected - found)]
    return wrong + [f"{where} holds {name}, which does not belong there" for name in sorted(found - expected)]


if __name__ == "__main__":
    sys.exit(main())
