"""Headers of sample blobs and group blobs: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from forged import reseal
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import SHA256, latent, random_tables

from latentstore.codecs import modality
from latentstore.codecs.bitstream import group
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.bitstream.varint import read_varint, varint
from latentstore.codecs.errors import (
    ArgumentError,
    CorruptError,
    LatentstoreError,
    TruncatedError,
    UnsupportedVersionError,
)
from latentstore.codecs.reference import coder as reference
from latentstore.codecs.reference import header as reference_header


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


@given(st.integers(0, (1 << 28) - 1))
def test_numbers(value: int) -> None:
    spelled = varint(value)
    assert read_varint(b"x" + spelled + b"y", 1) == (value, 1 + len(spelled))
    assert len(spelled) == max(1, -(-value.bit_length() // 7))
    for end in range(len(spelled)):
        with pytest.raises(TruncatedError):
            read_varint(spelled[:end], 0)


@pytest.mark.parametrize("spelling", [b"\x80\x00", b"\xff\x80\x00", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff"])
def test_numbers_have_one_spelling(spelling: bytes) -> None:
    with pytest.raises(CorruptError):
        read_varint(spelling, 0)


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


# groups


def group_blob(shape: tuple[int, int] = (40, 300), quality: int = 63) -> bytes:
    coder = reference.coder_new(SHA256, 11, *random_tables(1))
    return reference.coder_encode(coder, 1, quality, latent(3, "sparse", 3, *shape))


def test_group_headers() -> None:
    blob = group_blob()
    info = group_info(blob, SHA256)
    assert (info.version, info.model, info.quality) == (1, 1, 63)
    assert (info.height, info.width, info.escapes > 0) == (40, 300, True)
    assert blob[: info.header_bytes - 4] == b"\x11\x01\x3f\x28\xac\x02" + varint(info.escapes)
    covered = SHA256 + blob[: info.header_bytes - 4] + blob[info.header_bytes :]
    assert blob[info.header_bytes - 4 : info.header_bytes] == crc32c(covered).to_bytes(4, "little")


def test_a_group_header_cut_anywhere() -> None:
    blob = group_blob((3, 5))
    for end in range(group_info(blob).header_bytes):
        with pytest.raises(TruncatedError):
            group_info(blob[:end])
    for end in range(len(blob)):
        with pytest.raises(CorruptError):
            group_info(blob[:end], SHA256)
    with pytest.raises(CorruptError):
        group_info(blob, bytes(32))


@pytest.mark.parametrize("first", [0x05, 0x20, 0xF0])
def test_group_headers_of_other_versions(first: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        group_info(bytes([first]) + group_blob()[1:])


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0}, {"width": 0}, {"height": 1 << 17, "width": 1}, {"height": 1, "width": (1 << 28) - 1},
        {"height": 1 << 11, "width": (1 << 11) + 1}, {"flags": 2}, {"flags": 9}, {"quality": 101},
        {"quality": 255},
    ],
)  # fmt: skip
def test_forged_group_headers(changes: dict[str, int]) -> None:
    blob = group_blob()
    assert reseal(blob) == blob
    with pytest.raises(CorruptError):
        group_info(reseal(blob, **changes), SHA256)


def test_limits_are_those_of_the_reference() -> None:
    assert (modality.MAX_AREA, modality.MAX_SIDE) == (reference_header.MAX_AREA, reference_header.MAX_SIDE)
    assert modality.IMAGE.highest_quality == reference_header.MAX_QUALITY
    assert modality.AUDIO.highest_quality == reference_header.MAX_STEP_CODE
    assert group.VERSION == reference_header.VERSION
    assert issubclass(TruncatedError, LatentstoreError)
