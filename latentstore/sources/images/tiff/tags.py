"""The directories of a TIFF: the few tags that say which page is the image, and how its samples are stored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from latentstore.codecs.errors import ImageError

__all__ = ["Page", "TiffTags", "is_tiff", "read_tags"]

MAGICS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
# By the number of a type: its letter for `struct`. Texts and fractions are not needed.
TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
SUBFILE, OLD_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES, PLANAR = 266, 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES, CHILDREN = 317, 322, 323, 324, 325, 330
COLOUR_MAP, EXTRA, FORMAT, PROFILE, DNG = 320, 338, 339, 34675, 50706
NEEDED = {
    SUBFILE, OLD_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES,
    ROWS, STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES, CHILDREN, COLOUR_MAP,
    EXTRA, FORMAT, PROFILE, DNG,
}  # fmt: skip
# Bits of SUBFILE: a smaller version of another page; a mask.
NO_IMAGE = 1 | 4
OLD_REDUCED = 2
# Photometric kinds of a sensor's samples.
SENSOR = (32803, 34892)
MOST_PAGES = 256
MOST_TAGS = 4096


@dataclass
class Page:
    """One directory. offset: of it in the file. tags: values of those that are needed. next: offset, 0 for none."""

    offset: int
    order: str
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)
    next: int = 0

    def one(self, tag: int, default: int) -> int:
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def is_whole(self) -> bool:
        """Whether it is an image, and not marked as a smaller version of one or as a mask."""
        return not self.one(SUBFILE, 0) & NO_IMAGE and self.one(OLD_SUBFILE, 1) != OLD_REDUCED

    @property
    def is_sensor(self) -> bool:
        return self.one(PHOTOMETRIC, 0) in SENSOR

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.one(WIDTH, 0), self.one(LENGTH, 0)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return self.one(SAMPLES, 1)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample."""
        given = self.tags.get(BITS, (1,))[: self.samples]
        return given * self.samples if len(given) == 1 else given

    @property
    def formats(self) -> set[int]:
        """Formats of samples: 1 unsigned, 2 signed, 3 floats, 4 not said, 5 and 6 complex."""
        return set(self.tags.get(FORMAT, (1,)))

    @property
    def photometric(self) -> int:
        return self.one(PHOTOMETRIC, 0)


@dataclass
class TiffTags:
    """page: the one that is read. is_first: whether it is the file's first. is_raw: whether it is a sensor's."""

    page: Page
    is_first: bool
    is_raw: bool


def is_tiff(data: bytes) -> bool:
    """Whether bytes begin as a TIFF does."""
    return data[:4] in MAGICS


def read_tags(data: bytes) -> TiffTags:
    """Chooses the page to read: the first that is no thumbnail. ImageError if there is no page."""
    order, big = MAGICS[data[:4]], data[2:4] in (b"+\0", b"\0+")
    first = _offset(data, order, big)
    page = _page(data, first, order, big)
    # A Canon raw file says so in its header.
    raw, chosen = data[8:10] == b"CR" and not big, page
    if not page.is_whole or CHILDREN in page.tags or DNG in page.tags:
        whole = None
        for other in _pages(data, page, big):
            raw = raw or other.is_sensor
            if whole is None and other.is_whole and not other.is_sensor and 0 not in other.size:
                whole = other
        chosen = page if page.is_whole or whole is None else whole
    return TiffTags(chosen, chosen is page, raw or page.is_sensor)


def _offset(data: bytes, order: str, big: bool) -> int:
    if len(data) < (16 if big else 8):
        raise ImageError(f"cut short: a TIFF of {len(data)} bytes")
    at: int = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    return at


def _pages(data: bytes, first: Page, big: bool) -> Iterator[Page]:
    """The first page, its children, the next pages and theirs; each once."""
    seen, waiting = {first.offset}, [first]
    while waiting and len(seen) < MOST_PAGES:
        page = waiting.pop(0)
        yield page
        children = [offset for offset in (*page.tags.get(CHILDREN, ()), page.next) if offset]
        for offset in children:
            if offset not in seen:
                seen.add(offset)
                try:
                    waiting.append(_page(data, offset, first.order, big))
                except ImageError:
                    continue  # a broken thumbnail does not hide the image


def _page(data: bytes, offset: int, order: str, big: bool) -> Page:
    page, entry, inline = Page(offset, order), 20 if big else 12, 8 if big else 4
    at, letter = (offset + 8, "Q") if big else (offset + 2, "H")
    if offset < 8 or at > len(data):
        raise ImageError(f"cut short: a TIFF of {len(data)} bytes with a directory at byte {offset}")
    (count,) = struct.unpack_from(order + letter, data, offset)
    end = at + count * entry
    if count > MOST_TAGS or end + inline > len(data):
        raise ImageError(f"cut short: a TIFF of {len(data)} bytes whose directory ends at byte {end + inline}")
    for start in range(at, end, entry):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag not in NEEDED or kind not in TYPES:
            continue
        (values,) = struct.unpack_from(order + ("Q" if big else "I"), data, start + 4)
        length = values * struct.calcsize("=" + TYPES[kind])
        where = start + 4 + inline
        if length > inline:
            (where,) = struct.unpack_from(order + ("Q" if big else "I"), data, where)
        if values == 0:
            continue
        if where + length > len(data):
            raise ImageError(f"cut short: tag {tag} of the TIFF has its values behind the file's end")
        page.tags[tag] = struct.unpack_from(f"{order}{values}{TYPES[kind]}", data, where)
    (page.next,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)
    return page
