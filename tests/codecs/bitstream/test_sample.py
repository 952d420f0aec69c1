"""Headers of sample blobs: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import SHA256

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.errors import (
    ArgumentError,
    CorruptError,
    TruncatedError,
    UnsupportedVersionError,
)


def seal(header: bytes) -> bytes:
    """A sample blob's header with its checksum."""
    return header + crc32c(header).to_bytes(4, "little")


def sample_header(
    magic: bytes = b"LS",
    version: int = 1,
    mode: int = 1,
    width: bytes = varint(80),
    height: bytes = varint(24),
    count: int = 1,
    sizes: bytes = varint(5),
) -> bytes:
    return seal(magic + bytes([version << 4 | mode]) + SHA256[:2] + width + height + bytes([count]) + sizes)


def test_the_bytes_of_a_sample_header() -> None:
    blob = join_sample([b"ab", b"cde" * 50], 80, 24, "RGB", SHA256)
    head = b"LS\x11" + SHA256[:2] + b"\x50\x18\x02\x02\x96\x01"
    assert blob == seal(head) + b"ab" + b"cde" * 50


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 70000),
    height=st.integers(1, 3000),
    mode=st.sampled_from(["L", "RGB"]),
    groups=st.lists(st.binary(max_size=300), min_size=1, max_size=64),
)
def test_samples(width: int, height: int, mode: str, groups: list[bytes]) -> None:
    blob = join_sample(groups, width, height, mode, SHA256)
    info = split_sample(memoryview(blob))
    assert (info.width, info.height, info.mode, info.fingerprint) == (width, height, mode, SHA256[:2])
    assert [blob[a:b] for a, b in zip(info.starts, info.ends, strict=True)] == groups
    assert info.ends[-1] == len(blob)


def test_a_sample_header_cut_or_changed_anywhere() -> None:
    blob = join_sample([b"x" * 200, b"y" * 20000], 70000, 300, "RGB", SHA256)
    header = split_sample(blob).starts[0]
    for end in range(header):
        with pytest.raises(TruncatedError):
            split_sample(blob[:end])
    for at in range(header):
        for bit in range(8):
            changed = bytearray(blob)
            changed[at] ^= 1 << bit
            with pytest.raises(CorruptError if at != 2 else (CorruptError, UnsupportedVersionError)):
                split_sample(changed)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (sample_header(version=0), UnsupportedVersionError),
        (sample_header(version=2), UnsupportedVersionError),
        (sample_header(magic=b"LT"), CorruptError),
        (sample_header(mode=2), CorruptError),
        (sample_header(mode=15), CorruptError),
        (sample_header(width=varint(0)), CorruptError),
        (sample_header(height=varint(0)), CorruptError),
        (sample_header(width=b"\x80\x00"), CorruptError),
        (sample_header(width=varint((1 << 28) - 1), height=varint((1 << 28) - 1)), CorruptError),
        (sample_header(width=varint(1 << 20), height=varint(1)), CorruptError),
        (sample_header(width=varint(1 << 19), height=varint(1 << 10)), CorruptError),
        (sample_header(count=0), CorruptError),
        (sample_header(count=65, sizes=varint(1) * 65), CorruptError),
    ],
)
def test_forged_sample_headers(header: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        split_sample(header + bytes(100))


@pytest.mark.parametrize(
    ("width", "height", "mode", "groups"),
    [
        (0, 5, "RGB", [b""]),
        (5, -1, "RGB", [b""]),
        (1 << 28, 1, "RGB", [b""]),
        (1 << 15, (1 << 13) + 1, "L", [b""]),
        (5, 5, "CMYK", [b""]),
        (5, 5, "RGB", []),
        (5, 5, "RGB", [b""] * 65),
    ],
)
def test_samples_that_cannot_be_written(width: int, height: int, mode: str, groups: list[bytes]) -> None:
    with pytest.raises(ArgumentError):
        join_sample(groups, width, height, mode, SHA256)


def test_the_largest_images_can_be_written() -> None:
    for width, height in [(1 << 14, 1 << 14), (1 << 19, 1 << 9), (1 << 9, 1 << 19), (1 << 19, 1)]:
        info = split_sample(join_sample([b""], width, height, "L", SHA256))
        assert (info.width, info.height) == (width, height)
