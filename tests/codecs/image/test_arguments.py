"""Arguments that cannot be meant, and blobs of something else: one clear sentence each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawn_images import drawn

from latentstore.codecs import Codec, codec_from_bytes, load_codec
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, TruncatedError

IMAGE = drawn("photo", 16, 24, 3)
LATENT = np.zeros((1, 48, 2, 3), np.int8)

CALLS: list[tuple[Callable[[Codec], Any], str]] = [
    # images
    (lambda c: c.compress(IMAGE.astype("f4")), r"float32 \(16, 24, 3\).*uint8 \(height, width, 3\)"),
    (lambda c: c.compress(IMAGE.astype(np.int16)), "int16"),
    (lambda c: c.compress(IMAGE[..., :1]), r"\(16, 24, 1\)"),
    (lambda c: c.compress(IMAGE[..., 0]), r"\(16, 24\)"),
    (lambda c: c.compress(IMAGE[None]), r"\(1, 16, 24, 3\)"),
    (lambda c: c.compress(IMAGE[:0]), "24 x 0 pixels"),
    (lambda c: c.compress(IMAGE[:, :0]), "0 x 16 pixels"),
    (lambda c: c.compress(np.broadcast_to(np.uint8(0), (1 << 15, 1 << 15, 3))), "cut it into tiles"),
    (lambda c: c.compress("image.png"), "<U9"),
    (lambda c: c.compress_groups(IMAGE[..., 0]), r"\(16, 24\)"),
    (lambda c: c.encode(IMAGE), r"\(16, 24, 3\).*takes uint8 \(N, height, width, 3\)"),
    (lambda c: c.encode(IMAGE[None, ..., :2]), r"\(1, 16, 24, 2\)"),
    (lambda c: c.encode(IMAGE[None] / 255), "float64"),
    (lambda c: c.encode(np.zeros((0, 8, 8, 3))), "float64"),
    (lambda c: c.encode(np.zeros((2, 0, 8, 3), np.uint8)), "8 x 0 pixels"),
    # quality and effort
    *(
        (lambda c, q=q: c.compress(IMAGE, q), r"quality is .*; it is a whole number from 1 to 100")
        for q in (0, 101, -1, 50.5, 50.0, "50", True, float("nan"), float("inf"), [50], 10**30)
    ),
    (lambda c: c.encode(IMAGE[None], 0), "quality is 0"),
    (lambda c: c.encode(np.zeros((0, 8, 8, 3), np.uint8), 101), "quality is 101"),
    (lambda c: c.decode(LATENT, quality=0), "quality is 0"),
    (lambda c: c.encode_latent_groups(LATENT[0], 0), "quality is 0"),
    (lambda c: c.step(0), "quality is 0"),
    (lambda c: c.scale(101), "quality is 101"),
    (lambda c: c.compress(IMAGE, effort="slow"), "effort is 'slow'; it is 'default' or 'fast'"),
    (lambda c: c.encode(np.zeros((0, 8, 8, 3), np.uint8), effort=None), "effort is None"),
    # latents
    (lambda c: c.decode(LATENT[0]), r"int8 \(48, 2, 3\)"),
    (lambda c: c.decode(LATENT.astype(np.int16)), "int16"),
    (lambda c: c.decode(np.zeros((1, 49, 2, 3), np.int8)), r"1 to 48"),
    (lambda c: c.decode(np.zeros((1, 0, 2, 3), np.int8)), r"1 to 48"),
    (lambda c: c.decode(LATENT[:, :12], channels=13), "channels is 13; it is a whole number from 1 to 12"),
    (lambda c: c.decode(LATENT, size=(17, 24)), r"size is \(17, 24\).*from \(9, 17\) to \(16, 24\)"),
    (lambda c: c.decode(LATENT, size=(16, 16)), "size is"),
    (lambda c: c.decode(LATENT, size=(0, 0)), "size is"),
    (lambda c: c.decode(LATENT, size=(-16, 24)), "size is"),
    (lambda c: c.decode(LATENT, size=(10**9, 10**9)), "size is"),
    (lambda c: c.decode(LATENT, size=(16.0, 24.0)), "size is"),
    (lambda c: c.decode(LATENT, size=(16, 24, 3)), "size is"),
    (lambda c: c.decode(LATENT, size=16), "size is 16"),
    (lambda c: c.encode_latent_groups(LATENT), r"int8 \(1, 48, 2, 3\)"),
    (lambda c: c.encode_latent_groups(LATENT[0, :12]), r"int8 \(12, 2, 3\)"),
    (lambda c: c.encode_latent_groups(LATENT[0].astype(float)), "float64"),
    (lambda c: c.encode_latent_groups(LATENT[0, :, :0]), "24 x 0 pixels"),
    # blobs
    *(
        (lambda c, n=n: c.read_latent(c.compress(IMAGE), n), r"channels is .*; it is a whole number from 1")
        for n in (0, 49, -1, 12.0, "12", True, [12])
    ),
    (lambda c: c.decompress(c.compress(IMAGE), 49), "channels is 49"),
    (lambda c: c.read_latent([c.compress(IMAGE)], 0), "channels is 0"),
    (lambda c: c.read_latent("LS"), "The blob is not bytes but str"),
    (lambda c: c.read_latent(None), "The blob is not bytes but NoneType"),
    (lambda c: c.decompress(5), "The blob is not bytes but int"),
    (lambda c: c.read_latent([c.compress(IMAGE), "LS"]), "Blob 1 is not bytes but str"),
    (lambda c: c.read_latent(np.zeros((8, 8), np.uint8)[:, ::2]), "The blob is not bytes but ndarray"),
    (lambda c: c.join_groups([], 16, 24), "groups"),
    (lambda c: c.join_groups(c.compress_groups(IMAGE), 0, 24), "24 x 0 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[message[:30] for _, message in CALLS])
def test_arguments_that_cannot_be_meant(codec: Codec, call: Callable[[Codec], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        call(codec)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 250


def test_whole_numbers_of_any_type_are_fine(codec: Codec) -> None:
    blob = codec.compress(IMAGE, np.int64(40))
    assert blob == codec.compress(IMAGE, np.uint8(40))
    assert codec.read_latent(blob, np.int32(12)).shape == (12, 2, 3)
    assert codec.decode(LATENT, np.int8(12), size=[np.int64(16), 24], decoder="linear").shape == (1, 16, 24, 3)  # type: ignore[arg-type]


def test_out_must_hold_the_groups(codec: Codec) -> None:
    group = codec.compress_groups(IMAGE)[0]
    for out in (
        np.empty((1, 12, 2, 3), np.int16),
        np.empty((12, 2, 3), np.int8),
        np.empty((1, 12, 2, 6), np.int8)[..., ::2],
        np.empty((2, 12, 2, 3), np.int8),
    ):
        with pytest.raises(ArgumentError, match="out"):
            codec.read_groups(Blobs.whole([group]), out)


# blobs of another kind


def test_a_blob_of_another_artifact(codec: Codec, other_artifact: bytes) -> None:
    other = codec_from_bytes(other_artifact)
    blob, own = other.compress(IMAGE), codec.compress(IMAGE)
    for call in (codec.decompress, codec.read_latent):
        with pytest.raises(
            ArtifactError, match=rf"The blob was made with .* begins {other.sha256[:4]}; .* load"
        ) as caught:
            call(blob)
        assert caught.value.index is None
    with pytest.raises(ArtifactError, match="Blob 2 was made with") as caught:
        codec.read_latent([own, own, blob])
    assert caught.value.index == 2


def test_a_blob_of_another_mode(codec: Codec) -> None:
    blob = load_codec("gray-f8c16").compress(IMAGE[..., :1])
    with pytest.raises(ArtifactError):
        codec.decompress(blob, decoder="linear")


def test_groups_of_another_artifact_in_a_sample_of_this(codec: Codec, other_artifact: bytes) -> None:
    groups = codec_from_bytes(other_artifact).compress_groups(IMAGE)
    with pytest.raises((ArtifactError, CorruptError)) as caught:
        codec.read_latent([codec.compress(IMAGE), codec.join_groups(groups, 16, 24)])
    assert caught.value.index == 1
    assert "Group 0 of blob 1" in str(caught.value)


def test_the_bad_blob_and_its_group_are_named(codec: Codec) -> None:
    good = codec.compress(IMAGE)
    at = split_sample(good).ends[2] - 1
    bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    small = codec.compress(IMAGE[:8])
    for blobs in ([good, bad, good], [small, bad]):
        with pytest.raises(CorruptError, match="Group 2 of blob 1 ") as caught:
            codec.read_latent(blobs)
        assert caught.value.index == 1
    with pytest.raises(CorruptError, match="Group 2 of the blob ") as caught:
        codec.decompress(bad, decoder="linear")
    assert caught.value.index is None
    for blobs in ([good, good[:-1]], [small, good[:-1]]):
        with pytest.raises(
            TruncatedError, match=rf"blob 1 take {len(good)} bytes, and it has {len(good) - 1}"
        ) as caught:
            codec.read_latent(blobs)
        assert caught.value.index == 1
    with pytest.raises(TruncatedError, match="Blob 1 cannot be read: The sample blob has 2 bytes") as caught:
        codec.read_latent([good, good[:2]])
    assert caught.value.index == 1
    with pytest.raises(CorruptError, match="begin as a sample blob"):
        codec.decompress(b"\x89PNG\r\n\x1a\n" + bytes(40), decoder="linear")
    with pytest.raises(CorruptError, match=rf"it has {len(good) + 1}"):
        codec.decompress(good + b"\0", decoder="linear")


def test_pixels_need_a_quality(codec: Codec) -> None:
    """A blob that does not say it is not decoded at a guess."""
    latent = codec.encode(IMAGE[None], 70)[0]
    blob = codec.join_groups(codec.encode_latent_groups(latent), 16, 24)
    np.testing.assert_array_equal(codec.read_latent(blob), latent)
    with pytest.raises(ArgumentError, match="does not say its quality"):
        codec.decompress(blob, decoder="linear")


def test_groups_of_different_qualities_are_no_image(codec: Codec) -> None:
    first, second = codec.compress_groups(IMAGE, 50), codec.compress_groups(IMAGE, 60)
    blob = codec.join_groups(first[:1] + second[1:], 16, 24)
    with pytest.raises(CorruptError, match=r"qualities \[50, 60\]"):
        codec.decompress(blob, decoder="linear")
    np.testing.assert_array_equal(
        codec.decompress(blob, 12, decoder="linear"), codec.decompress(codec.compress(IMAGE, 50), 12, decoder="linear")
    )
