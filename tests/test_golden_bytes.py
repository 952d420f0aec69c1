"""The bytes of golden blobs and of shipped artifacts never change.

tests/golden/sha256.txt lists them; `sha256sum --check tests/golden/sha256.txt` from the top says the same. A new
format version, or a new artifact under a new name, adds lines. No line is ever changed or taken out.

Before the first release, when nobody has stores yet, that happened twice. The golden files of audio and the artifact
stereo-f256c108 were made anew when blobs of audio began to say the level of their signal, so that quiet music is kept
as well as loud music. Lines of images and of mono-f32c32 stayed as they were. And those of images, with the artifacts
rgb-f8c48 and gray-f8c16, were made anew when groups got the sparse form, which needs a tensor more.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from paths import GOLDEN

from latentstore import codecs

SHIPPED = "codecs/artifact/shipped/"
LISTED = {
    name: digest for digest, name in (line.split("  ") for line in (GOLDEN / "sha256.txt").read_text().splitlines())
}


def place(name: str) -> Path:
    """Where a listed file lies: artifacts in the package that is imported, which may be an installed one."""
    if name.startswith(SHIPPED):
        return Path(codecs.__file__).parent / "artifact" / "shipped" / name.removeprefix(SHIPPED)
    return GOLDEN / name.removeprefix("tests/golden/")


@pytest.mark.parametrize("name", LISTED)
def test_golden_bytes_are_as_they_were(name: str) -> None:
    digest = hashlib.sha256(place(name).read_bytes()).hexdigest()
    assert digest == LISTED[name], f"{name} changed: stores that people have would no longer be read"


def test_every_golden_file_is_listed() -> None:
    there = {path for folder in ("images", "audio") for path in (GOLDEN / folder).rglob("*") if path.is_file()}
    there |= set(place(SHIPPED).iterdir())
    assert there == {place(name) for name in LISTED}
