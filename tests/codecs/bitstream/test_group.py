"""Headers of group blobs: what the reference writes is read, and nothing else is."""

from __future__ import annotations

import pytest
from forged import reseal
from random_models import SHA256, latent, random_tables

from latentstore.codecs import modality
from latentstore.codecs.bitstream import group
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.errors import CorruptError, LatentstoreError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.reference import header as reference_header
from latentstore.codecs.reference import stand_in as reference


def group_blob(shape: tuple[int, int] = (40, 300), quality: int = 63) -> bytes:
    coder = reference.coder_new(SHA256, 11, *random_tables(1))
    return reference.coder_encode(coder, 1, quality, latent(3, "sparse", 3, *shape))


def test_group_headers() -> None:
    blob = group_blob()
    info = group_info(blob, SHA256)
    assert (info.version, info.lanes, info.model, info.quality) == (1, 16, 1, 63)
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
        {"height": 1 << 11, "width": (1 << 11) + 1}, {"flags": 4}, {"flags": 9}, {"quality": 101},
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
