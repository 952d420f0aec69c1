"""Tags that programs put before and behind audio of any format: ID3, APE, Lyrics3."""

from __future__ import annotations

import struct

from latentstore.codecs.errors import AudioError
from latentstore.sources.audio.view import View

__all__ = ["audio_end", "audio_start", "id3_length"]

ID3V1_BYTES = 128
APE_BYTES = 32
APE_HAS_HEADER = 1 << 31
ID3_FOOTER = 0x10
MOST_TAGS = 64


def id3_length(view: View, at: int) -> int:
    """Bytes of the ID3v2 tag at `at`; 0 where there is none."""
    head = view.at(at, 10)
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 255 or head[4] == 255 or max(head[6:]) > 127:
        return 0
    footer = 10 if head[5] & ID3_FOOTER else 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer


def audio_start(view: View) -> int:
    """Where the ID3v2 tags at the beginning end. AudioError where they fill the file."""
    at = 0
    for _ in range(MOST_TAGS):
        length = id3_length(view, at)
        if not length:
            return at
        at += length
        if at >= view.size:
            raise AudioError(f"its ID3 tag claims {length:,} bytes, and no audio follows: cut short, or no audio")
    raise AudioError(f"it begins with more than {MOST_TAGS} ID3 tags")


def audio_end(view: View, start: int = 0) -> int:
    """Where the tags at the end begin: ID3v1, APE, Lyrics3, and ID3v2 with a footer. Not before `start`."""
    end = view.size
    for _ in range(MOST_TAGS):
        length = _tag_before(view, end)
        if not 0 < length <= end - start:
            break
        end -= length
    return end


def _tag_before(view: View, end: int) -> int:
    """Bytes of the tag that ends at `end`; 0 where none does."""
    if end >= ID3V1_BYTES and view.at(end - ID3V1_BYTES, 3) == b"TAG":
        return ID3V1_BYTES
    tail = view.at(max(0, end - APE_BYTES), min(APE_BYTES, end))
    if tail[:8] == b"APETAGEX":
        size, _, flags = struct.unpack("<III", tail[12:24])
        return size + (APE_BYTES if flags & APE_HAS_HEADER else 0)
    if tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        return int(tail[-15:-9]) + 15
    if tail[-10:-7] == b"3DI" and max(tail[-4:]) < 128:
        return 20 + (tail[-4] << 21 | tail[-3] << 14 | tail[-2] << 7 | tail[-1])
    return 0
