"""Audio files that contradict themselves, made byte by byte: containers, their headers, pages and frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
from audio_made import chirp, encoded

RATE, SAMPLES = 16000, 12001
AUDIO = chirp(1, SAMPLES)
PCM = (AUDIO[:, 0] * 32767).round().astype("<i2")
LIST = b"INFOISFT\x06\0\0\0maker\0"
SUBTYPE = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def as_read() -> np.ndarray:
    """float32 (SAMPLES,): what every file of `PCM` holds."""
    return PCM.astype(np.float32) / np.float32(32768)


# ---- RIFF and AIFF


def chunk(name: bytes, body: bytes, size: int | None = None, order: str = "<", pad: bool = True) -> bytes:
    """A chunk; its size may be false, and the zero behind an odd one may be missing."""
    said = struct.pack(order + "I", len(body) if size is None else size)
    return name + said + body + (b"\0" if pad and len(body) & 1 else b"")


def form(*, tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, align: int = 0, extra: bytes = b"",
         order: str = "<") -> bytes:  # fmt: skip
    """The chunk `fmt `."""
    align = align or channels * bits // 8
    head = struct.pack(order + "HHIIHH", tag, channels, rate, rate * align, align, bits)
    return chunk(b"fmt ", head + extra, order=order)


def extensible(tag: int, bits: int, valid: int) -> bytes:
    """`fmt ` of WAVE_FORMAT_EXTENSIBLE."""
    return form(tag=0xFFFE, bits=bits, extra=struct.pack("<HHIH", 22, valid, 4, tag) + SUBTYPE)


def riff(*chunks: bytes, magic: bytes = b"RIFF", order: str = "<", size: int | None = None) -> bytes:
    """A WAV file."""
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(order + "I", len(body) if size is None else size) + body


def pcm_wav(size: int | None = None, *, before: bytes = b"", after: bytes = b"", total: int | None = None) -> bytes:
    """`PCM` as a WAV file, whose chunk `data` says `size`."""
    return riff(form(), before, chunk(b"data", PCM.tobytes(), size), after, size=total)


def rf64(magic: bytes, samples: bytes, said: int | None = None) -> bytes:
    """`PCM` as RF64 or BW64."""
    sizes = struct.pack("<QQQI", 0, len(samples) if said is None else said, 0, 0)
    data = chunk(b"data", samples, 0xFFFFFFFF)
    return riff(chunk(b"ds64", sizes), form(), data, magic=magic, size=0xFFFFFFFF)


def aifc(samples: int, size: int | None = None, kind: bytes = b"", after: bytes = b"") -> bytes:
    """`PCM` as AIFF, or as AIFF-C of a compression."""
    rate = struct.pack(">HQ", 16383 + 13, RATE << 50)
    name = kind + b"\0\0" if kind else b""
    comm = chunk(b"COMM", struct.pack(">HIH", 1, samples, 16) + rate + name, order=">")
    values = PCM.tobytes() if kind == b"sowt" else PCM.byteswap().tobytes()
    ssnd = chunk(b"SSND", bytes(8) + values, size, order=">")
    body = (b"AIFC" if kind else b"AIFF") + comm + ssnd + after
    return b"FORM" + struct.pack(">I", len(body)) + body


# ---- others with one header


def w64(size: int | None = None, after: bytes = b"") -> bytes:
    """`PCM` as Sony Wave64."""
    tail = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    head = form()[8:]
    body = b"fmt " + tail + struct.pack("<Q", 24 + len(head)) + head
    data = PCM.tobytes()
    body += b"data" + tail + struct.pack("<Q", 24 + len(data) if size is None else size) + data
    body += bytes(-len(body) % 8 if size != 0 else 0) + after
    guid = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
    return guid + struct.pack("<Q", 40 + len(body)) + b"wave" + tail + body


def au(size: int, after: bytes = b"") -> bytes:
    """`PCM` as AU."""
    return b".snd" + struct.pack(">5I", 24, size, 3, RATE, 1) + PCM.byteswap().tobytes() + after


def nist(count: int | None, after: bytes = b"", coding: str = "pcm") -> bytes:
    """`PCM` as NIST SPHERE."""
    lines = ["NIST_1A", "   1024", "channel_count -i 1", f"sample_rate -i {RATE}", "sample_n_bytes -i 2"]
    lines += ["sample_byte_format -s2 01", "sample_sig_bits -i 16", f"sample_coding -s{len(coding)} {coding}"]
    lines += [] if count is None else [f"sample_count -i {count}"]
    head = "\n".join([*lines, "end_head", ""]).encode().ljust(1024)
    return head + PCM.tobytes() + after


def caf(size: int | None = None, after: bytes = b"") -> bytes:
    """`PCM` as CAF."""
    desc = struct.pack(">d4s5I", RATE, b"lpcm", 0, 2, 1, 1, 16)
    data = bytes(4) + PCM.byteswap().tobytes()
    head = b"caff\0\1\0\0desc" + struct.pack(">q", len(desc)) + desc
    return head + b"data" + struct.pack(">q", len(data) if size is None else size) + data + after


# ---- tags


def id3v2(size: int = 5000) -> bytes:
    """An ID3v2 tag of so many bytes, without its head."""
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


ID3V1 = b"TAG" + b"x" * 125
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 40, 1, 1 << 31) + bytes(8) + b"v" * 40
APE += b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 40, 1, 1 << 31) + bytes(8)


# ---- FLAC


def flac_total(data: bytes, total: int) -> bytes:
    """A FLAC file whose header says so many samples."""
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36
    return data[:18] + (packed | total).to_bytes(8, "big") + data[26:]


# ---- Ogg


def _ogg_table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_TABLE = _ogg_table()


def page(flags: int, granule: int, serial: int, number: int, sizes: bytes, body: bytes) -> bytes:
    """A page with its checksum."""
    head = b"OggS\0" + bytes([flags]) + struct.pack("<qII", granule, serial, number)
    whole, crc = head + bytes(4) + bytes([len(sizes)]) + sizes + body, 0
    for byte in whole:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _TABLE[crc >> 24 ^ byte]
    return head + struct.pack("<I", crc) + whole[26:]


def pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    found, at = [], 0
    while at < len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        found.append(data[at:end])
        at = end
    return found


def changed(data: bytes, change: Callable[[int, int], tuple[int, int]]) -> bytes:
    """An Ogg file whose pages get other (granule, serial); granules of 0 stay."""
    out = []
    for one in pages(data):
        granule, serial, number = struct.unpack("<qII", one[6:22])
        other, serial = change(granule, serial)
        count = one[26]
        out.append(page(one[5], other if granule else 0, serial, number, one[27 : 27 + count], one[27 + count :]))
    return b"".join(out)


def late(data: bytes, by: int) -> bytes:
    """An Ogg file whose positions begin late, as those that are cut out of a longer one."""
    return changed(data, lambda granule, serial: (granule + by, serial))


def ogg_flac(data: bytes) -> bytes:
    """A FLAC file in Ogg, cut into pages anywhere: packets matter to nobody who joins their bytes."""
    first = b"\x7fFLAC\1\0\0\1" + data[:42]
    out, rest = [page(2, 0, 7, 0, bytes([len(first)]), first)], data[42:]
    for number, at in enumerate(range(0, len(rest), 4000), 1):
        body = rest[at : at + 4000]
        sizes = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
        out.append(page(4 if at + 4000 >= len(rest) else 0, SAMPLES, 7, number, sizes, body))
    return b"".join(out)


# ---- MP3


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames of an MP3 file of layer III without tags."""
    rates = {
        3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    found, at = [], 0
    while at + 4 <= len(data):
        version = data[at + 1] >> 3 & 3
        hertz = (44100, 48000, 32000)[data[at + 2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[version]
        bits = rates[3 if version == 3 else 2][(data[at + 2] >> 4) - 1]
        length = (144 if version == 3 else 72) * 1000 * bits // hertz + (data[at + 2] >> 1 & 1)
        found.append(data[at : at + length])
        at += length
    return found


def with_count(frames: Sequence[bytes], count: int, *, size: int | None = None) -> bytes:
    """The frames, the first of which is made to say another count, and another number of bytes."""
    first = bytearray(frames[0])
    at = first.find(b"Xing") if b"Xing" in first else first.find(b"Info")
    first[at + 8 : at + 12] = struct.pack(">I", count)
    if size is not None:
        first[at + 12 : at + 16] = struct.pack(">I", size)
    return bytes(first) + b"".join(frames[1:])


def mp3(rate: int = RATE) -> bytes:
    """Noise, then silence: the sizes of frames differ much."""
    rng = np.random.default_rng(0)
    audio = np.zeros((4 * SAMPLES, 1), np.float32)
    audio[:SAMPLES] = 0.3 * rng.normal(size=(SAMPLES, 1))
    return encoded(np.clip(audio, -1, 1), rate, "MP3")
