"""What a sample was made of, as text: what its source says of it, and a hash of its bytes where that costs little.

Whoever keeps this text can tell later whether a sample must be made again, without reading its source in full.
"""

from __future__ import annotations

import hashlib
import json
from typing import BinaryIO

from latentstore.codecs.errors import SignalError
from latentstore.sources.item import Item

__all__ = ["Fingerprints", "hash_of", "is_current", "is_same_content", "source_of", "with_stamp_of"]

BLOCK_BYTES = 1 << 20


def hash_of(file: BinaryIO) -> str:
    """32 hexadecimal digits that stand for the bytes of a file, from where it is read on. OSError."""
    found = hashlib.blake2b(digest_size=16)
    while block := file.read(BLOCK_BYTES):
        found.update(block)
    return found.hexdigest()


class Fingerprints:
    """`Item.fingerprint` of entries, one after the other. The pieces of one recording follow each other, and it is read
    for the first of them alone."""

    def __init__(self) -> None:
        self._key, self._found = "", ""

    def of(self, whole: Item) -> str:
        """The fingerprint of an entry that is no piece of another. SignalError if it cannot be read."""
        if not self._key or whole.key != self._key:
            self._key, self._found = whole.key, whole.fingerprint()
        return self._found


def source_of(item: Item, fingerprints: Fingerprints) -> str:
    """What the sample of an entry is made of. It is asked for before the entry is read, so that what changes in between
    is noticed next time. SignalError if it cannot be read."""
    whole, piece = item.origin()
    return f"{whole.size_bytes}|{_facts(item, piece)}|{fingerprints.of(whole)}|{whole.stamp}"


def is_current(kept: str, item: Item, fingerprints: Fingerprints) -> bool | None:
    """Whether an entry is still what the text says. True without reading it where size and stamp are the same; None
    where it had to be read to find that it is."""
    size, _, rest = kept.partition("|")
    facts, _, rest = rest.partition("|")
    content, _, stamp = rest.partition("|")
    whole, piece = item.origin()
    if size != str(whole.size_bytes) or facts != _facts(item, piece):
        return False
    if whole.stamp_tells and stamp == whole.stamp:
        return True
    try:
        return None if content and fingerprints.of(whole) == content else False
    except SignalError:
        return False


def with_stamp_of(kept: str, item: Item) -> str:
    """The text with the stamp that an entry has now, of which `is_current` has found that its content is the same."""
    return "|".join([*kept.split("|", 3)[:3], item.origin()[0].stamp])


def is_same_content(one: str, other: str) -> bool:
    """Whether two texts differ in their stamps at most."""
    return one.split("|", 3)[:3] == other.split("|", 3)[:3]


def _facts(item: Item, piece: str) -> str:
    """A hash of what the listing knows: fields, and which piece of a recording it is."""
    said = {name: value.hex() if isinstance(value, bytes) else value for name, value in item.fields.items()}
    text = json.dumps([said, piece], sort_keys=True).encode("ascii")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
