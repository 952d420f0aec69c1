"""The corpus: an archive for the kernel and one for what is Python, with a folder of inputs for each target.

corpus.py unpack KIND FOLDER writes one of them out. corpus.py pack KIND FOLDER [BYTES] puts the inputs of a folder of
folders in its place, the smallest first, up to so many bytes a target. The same inputs give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOST_BYTES = 100_000


def read_corpus(kind: str, target: str) -> list[bytes]:
    """The inputs of a target; kind: "kernel" or "python"."""
    return read_all(kind).get(target, [])


def read_all(kind: str) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    archive = HERE / f"corpus-{kind}.tar.gz"
    if archive.exists():
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    found.setdefault(member.name.partition("/")[0], []).append(file.read())
    return found


def write_corpus(kind: str, inputs: Mapping[str, Sequence[bytes]], most: int = MOST_BYTES) -> None:
    """Puts these inputs by target in the place of an archive's."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for target, all_of_it in sorted(inputs.items()):
            size = 0
            for data in sorted(set(all_of_it), key=lambda data: (len(data), data)):
                size += len(data)
                if size > most:
                    break
                info = tarfile.TarInfo(f"{target}/{hashlib.sha256(data).hexdigest()[:12]}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (HERE / f"corpus-{kind}.tar.gz").write_bytes(gzip.compress(raw.getvalue(), 9, mtime=0))


def main() -> None:
    what, kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "unpack":
        for target, inputs in read_all(kind).items():
            (folder / target).mkdir(parents=True, exist_ok=True)
            for data in inputs:
                (folder / target / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    else:
        most = int(sys.argv[4]) if len(sys.argv) > 4 else MOST_BYTES
        found = {path.name: [file.read_bytes() for file in path.iterdir()] for path in folder.iterdir()}
        write_corpus(kind, found, most)


if __name__ == "__main__":
    main()
