"""docs/architecture.md names paths and rooms as they are, and leaves none out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paths import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("codecs", "loaders", "latentstore")
NAMED = re.compile(rf"`((?:{'|'.join([*PACKAGES, 'tests', 'docs', 'benchmarks'])})/[\w./-]*)`")


def test_every_path_exists() -> None:
    found = {path for path in NAMED.findall(TEXT) if "NAME" not in path}
    assert len(found) > 80
    assert not sorted(path for path in found if not (ROOT / path).exists())


def test_files_named_in_a_room_are_in_it() -> None:
    """In a row of a table, `a/b/` may be followed by the short names of files and folders in it."""
    count = 0
    for row in re.findall(r"^\| `([\w/]+/)` \| (.*) \|$", TEXT, re.MULTILINE):
        for short in re.findall(r"`(\w+(?:\.py|\.c|\.h|/))`", row[1]):
            count += 1
            assert (ROOT / row[0] / short).exists(), f"{row[0]}{short}"
    assert count > 20


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_named(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")} - {ROOT / package}
    for folder in folders:
        room = folder.relative_to(ROOT).parts[:2]
        assert f"`{'/'.join(room)}/" in TEXT, f"architecture.md does not speak of {'/'.join(room)}"


def test_functions_named_beside_a_path_are_in_it() -> None:
    """`name` (`path`) and `path` (`name`): the file has that name."""
    pairs = [(name, path) for name, path in re.findall(r"`(\w+)` \(`([\w/]+\.py)`\)", TEXT)]
    pairs += [(name, path) for path, name in re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", TEXT)]
    assert len(pairs) > 8
    for name, path in pairs:
        assert re.search(rf"\b{name}\b", Path(ROOT, path).read_text(encoding="utf-8")), f"{name} is not in {path}"
