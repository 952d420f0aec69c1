"""Ogg: pages, of one stream. FLAC in Ogg becomes FLAC of its own, because libsndfile does not read it there.

A file of several recordings, one behind the other, is refused: libsndfile would read the first only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.flac import flac
from latentstore.sources.audio.tags import audio_end
from latentstore.sources.audio.view import Checked, View

__all__ = ["ogg"]

PAGE_BYTES = 65307
BEGINS, ENDS = 2, 4
FLAC_HEAD = 9
OTHERS = {
    b"Speex   ": "Speex", b"\x80theora": "Theora (video)", b"fishead\0": "several streams (Skeleton)",
    b"CELT    ": "CELT", b"PCM     ": "PCM", b"OVP80": "VP8 (video)", b"BBCD\0": "Dirac (video)",
    b"\x01video": "video (OGM)", b"\x01audio": "audio of OGM", b"\x80kate": "Kate (text)",
}  # fmt: skip


@dataclass(frozen=True)
class _Page:
    """flags, serial: as in its header. start, stop: of its body; the next page begins at stop."""

    flags: int
    serial: int
    start: int
    stop: int


def ogg(view: View) -> Checked:
    """The audio of an Ogg file of one stream of Vorbis, Opus or FLAC."""
    end = audio_end(view)
    first = _page(view, 0)
    if first is None or first.stop > end:
        raise AudioError("cut short: its first Ogg page is not whole")
    codec = view.at(first.start, min(8, first.stop - first.start))
    for magic, name in OTHERS.items():
        if codec.startswith(magic):
            raise AudioError(f"Ogg of {name} is not read; Vorbis, Opus and FLAC are")
    last = _last(view, end)
    second = _page(view, first.stop)
    if second is not None and second.flags & BEGINS:
        raise AudioError("an Ogg file of several streams at once: extract the one of audio")
    if last.serial != first.serial or _begins_again(view, first.stop):
        raise AudioError("several recordings one behind the other (chained Ogg): split them into files")
    if codec.startswith(b"\x7fFLAC"):
        return _flac(view, first, end)
    return Checked(view.cut(0, end))


def _page(view: View, at: int) -> _Page | None:
    head = view.at(at, 27)
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    sizes = view.at(at + 27, head[26])
    start = at + 27 + len(sizes)
    return _Page(head[5], struct.unpack("<I", head[14:18])[0], start, start + sum(sizes))


def _last(view: View, end: int) -> _Page:
    """The last page; AudioError unless it is whole, and marked as the last."""
    begin = max(0, end - PAGE_BYTES)
    at = view.at(begin, end - begin).rfind(b"OggS")
    page = _page(view, begin + at) if at >= 0 else None
    if page is None or page.stop > end:
        raise AudioError("cut short: its last Ogg page is not whole")
    if not page.flags & ENDS:
        raise AudioError("cut short: its last Ogg page is not marked as the end")
    return page


def _begins_again(view: View, start: int) -> bool:
    """Whether a stream begins behind the first page. Of a file that is far away only the last page tells."""
    return view.near and any(view.find(b"OggS\0" + bytes([flags]), start) >= 0 for flags in (BEGINS, BEGINS | ENDS))


def _flac(view: View, first: _Page, end: int) -> Checked:
    """The packets of the pages, without the head of the first: they are a FLAC file."""
    if view.at(first.start + FLAC_HEAD, 4) != b"fLaC":
        raise AudioError("damaged: its first packet is not that of FLAC in Ogg")
    parts: list[bytes | tuple[int, int]] = [(first.start + FLAC_HEAD, first.stop)]
    parts += [(page.start, page.stop) for page in _pages(view, first.stop, end)]
    return flac(view.made(parts))


def _pages(view: View, at: int, end: int) -> Iterator[_Page]:
    while at < end:
        page = _page(view, at)
        if page is None or page.stop > end:
            raise AudioError(f"damaged or cut short: no whole Ogg page at byte {at:,}")
        yield page
        at = page.stop
