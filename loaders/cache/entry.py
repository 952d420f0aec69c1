"""One entry of the cache: a range of one object of one store, as a file with a checksum.

    16 bytes    "latentstore 001\\n"
    u64         bytes that follow the head
    u32         their CRC-32C
    u32         0

Numbers are little-endian. The name says which object of the store and which range of it this is.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.loaders.remote.filling import own_memory
from latentstore.loaders.remote.ranges import Range

_MAGIC = b"latentstore 001\n"
_HEAD = struct.Struct("<16sQII")
HEAD_BYTES = _HEAD.size
_LONGEST_NAME = 200


def entry_name(item: Range) -> str:
    """The name of the file for a range of an object."""
    name, start, end = item
    return f"{object_prefix(name)}{start}-{'' if end is None else end}"


def object_prefix(name: str) -> str:
    """What the names of the files for all ranges of an object begin with."""
    plain = quote(name, safe="")
    if len(plain) > _LONGEST_NAME:
        plain = hashlib.sha256(name.encode()).hexdigest()
    return f"{plain}@"


def head_of(data: bytes | memoryview) -> bytes:
    """What stands before the bytes of an entry."""
    return _HEAD.pack(_MAGIC, len(data), crc32c(data), 0)


def read_entry(path: Path, apart: bool = False) -> Any:
    """The bytes of an entry; None if the file is damaged. OSError if it cannot be read.

    apart: whether they are a memoryview of memory of their own (`loaders.remote.filling`).
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        there = os.fstat(file.fileno()).st_size - HEAD_BYTES
        if len(head) < HEAD_BYTES:
            return None
        magic, size, crc, zero = _HEAD.unpack(head)
        if magic != _MAGIC or zero or size != there:
            return None
        data: bytes | memoryview
        if apart:
            memory = own_memory(size, str(path))
            came, data = file.readinto(memory), memory.toreadonly()
        else:
            data = file.read(size)
            came = len(data)
    return data if came == size and crc32c(data) == crc else None
