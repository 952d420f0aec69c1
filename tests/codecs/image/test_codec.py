"""From images to blobs and back, on the shipped artifacts: sizes, prefixes, lists, threads, paths."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from drawn_images import KINDS, drawn, psnr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latentstore.codecs import Codec, codec_from_bytes, load_codec
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.native import kernel

NAMES = ("gray-f8c16", "rgb-f16c48", "rgb-f8c48")
SHAPES = {
    "gray-f8c16": ("L", 1, 8, 16, 8), "rgb-f16c48": ("RGB", 3, 16, 48, 24), "rgb-f8c48": ("RGB", 3, 8, 48, 12),
}  # fmt: skip
EFFORTS = ("default", "fast")
PRIMES = (1, 2, 3, 7, 13, 31, 61)

names = st.sampled_from(NAMES)
efforts = st.sampled_from(EFFORTS)


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return load_codec(request.param)


def test_what_the_names_say() -> None:
    for name, (mode, colours, reduction, channels, group) in SHAPES.items():
        codec = load_codec(name)
        assert (codec.name, codec.mode, codec.in_channels) == (name, mode, colours)
        assert (codec.channels, codec.group_channels, codec.groups) == (channels, group, channels // group)
        assert codec.reduction == reduction
        assert 1 <= codec.default_quality <= 100
        assert codec.latent_shape(17, 64) == (channels, {8: 3, 16: 2}[reduction], 64 // reduction)
        assert codec.scale().shape == (channels,)
        assert codec.scale().dtype == np.float32
        assert codec.sha256[:12] in repr(codec)


# sizes and kinds


@settings(deadline=None, max_examples=60)
@given(
    name=names, height=st.integers(1, 70), width=st.integers(1, 70), kind=st.sampled_from(KINDS),
    effort=efforts, quality=st.integers(1, 70), seed=st.integers(0, 99),
)  # fmt: skip
@example(name="rgb-f8c48", height=1, width=1, kind="white", effort="default", quality=1, seed=0)
@example(name="gray-f8c16", height=1, width=1, kind="black", effort="fast", quality=70, seed=0)
@example(name="rgb-f8c48", height=1, width=64, kind="stripes", effort="default", quality=50, seed=1)
def test_any_image(name: str, height: int, width: int, kind: str, effort: Any, quality: int, seed: int) -> None:
    """What `compress` stores is what `encode` makes, and `decompress` what `decode` makes of it."""
    codec = load_codec(name)
    image = drawn(kind, height, width, codec.in_channels, seed)
    latent = codec.encode(image[None], quality, effort)
    assert latent.dtype == np.int8
    assert latent.shape == (1, *codec.latent_shape(height, width))
    blob = codec.compress(image, quality, effort)
    np.testing.assert_array_equal(codec.read_latent(blob), latent[0])
    decoded = codec.decompress(blob, decoder="linear")
    assert decoded.dtype == np.uint8
    assert decoded.shape == image.shape
    np.testing.assert_array_equal(
        decoded, codec.decode(latent, quality=quality, size=(height, width), decoder="linear")[0]
    )


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_small_and_prime_size_comes_back(codec: Codec, effort: Any) -> None:
    sizes = [(h, w) for h in PRIMES for w in PRIMES]
    sizes += [(n, 9) for n in range(1, 18)] + [(9, n) for n in range(1, 18)]
    for height, width in sizes:
        image = drawn("gradient", height, width, codec.in_channels, height)
        decoded = codec.decompress(codec.compress(image, 80, effort), decoder="linear")
        assert decoded.shape == image.shape
        assert psnr(decoded, image) > (27 if codec.reduction == 8 else 24), (height, width)


def test_flat_images_stay_flat(codec: Codec) -> None:
    for value in (0, 1, 127, 128, 200, 255):
        image = np.full((24, 41, codec.in_channels), value, np.uint8)
        decoded = codec.decompress(codec.compress(image), decoder="linear")
        assert np.abs(decoded.astype(int) - value).max() <= (5 if codec.reduction == 8 else 6)
        assert np.ptp(decoded, axis=(0, 1)).max() <= 1


def test_middle_gray_is_nothing_but_headers(codec: Codec) -> None:
    blob = codec.compress(np.full((400, 500, codec.in_channels), 128, np.uint8))
    assert len(blob) < 16 + codec.groups * 15
    assert not codec.read_latent(blob).any()


def test_gray_images_may_lack_the_last_axis() -> None:
    codec = load_codec("gray-f8c16")
    image = drawn("photo", 20, 30, 1)
    assert codec.compress(image[..., 0]) == codec.compress(image)
    assert codec.compress_groups(image[..., 0]) == codec.compress_groups(image)
    assert codec.decompress(codec.compress(image[..., 0]), decoder="linear").shape == (20, 30, 1)


def test_images_in_any_memory_layout(codec: Codec) -> None:
    image = drawn("photo", 40, 48, codec.in_channels)
    blob = codec.compress(image)
    wide = np.zeros((40, 48, 5), np.uint8)
    wide[..., 1 : 1 + codec.in_channels] = image
    for same in (
        np.asfortranarray(image),
        wide[..., 1 : 1 + codec.in_channels],
        image[::-1][::-1],
        image.tolist(),
    ):
        if isinstance(same, list):
            same = np.array(same, np.uint8)
        same.flags.writeable = False
        assert codec.compress(same) == blob


def test_no_images(codec: Codec) -> None:
    latents = codec.encode(np.zeros((0, 20, 30, codec.in_channels), np.uint8))
    assert latents.shape == (0, *codec.latent_shape(20, 30))
    assert codec.decode(latents, size=(20, 30), decoder="linear").shape == (0, 20, 30, codec.in_channels)
    assert codec.decode(latents, decoder="linear").shape == (
        0,
        *(n * codec.reduction for n in latents.shape[2:]),
        codec.in_channels,
    )
    assert codec.read_latent([]) == []


# many at once, and prefixes


def test_a_batch_is_its_images(codec: Codec) -> None:
    images = np.stack([drawn(kind, 24, 40, codec.in_channels) for kind in KINDS])
    latents = codec.encode(images)
    for image, latent in zip(images, latents, strict=True):
        np.testing.assert_array_equal(codec.encode(image[None])[0], latent)
    decoded = codec.decode(latents, size=(24, 40), decoder="linear")
    blobs = [codec.compress(image) for image in images]
    np.testing.assert_array_equal(codec.read_latent(blobs), latents)
    np.testing.assert_array_equal(np.stack([codec.decompress(blob, decoder="linear") for blob in blobs]), decoded)


def test_lists_of_mixed_sizes(codec: Codec) -> None:
    sizes = [(24, 40), (1, 1), (24, 40), (17, 64), (8, 8)]
    images = [drawn("photo", h, w, codec.in_channels, i) for i, (h, w) in enumerate(sizes)]
    blobs = [codec.compress(image) for image in images]
    for channels in (None, 3):
        latents = codec.read_latent(blobs, channels)
        assert isinstance(latents, list)
        for image, latent in zip(images, latents, strict=True):
            np.testing.assert_array_equal(latent, codec.encode(image[None])[0, :channels])


def test_images_put_where_they_belong(codec: Codec) -> None:
    assert isinstance(codec, ImageCodec)
    sizes = [(40, 56)] * 5 + [(9, 70)]
    given = [drawn(KINDS[i % len(KINDS)], *size, codec.in_channels) for i, size in enumerate(sizes)]
    for images in (given[:5], given):
        blobs = [codec.compress(image, 40 + i) for i, image in enumerate(images)]
        room = np.zeros((len(images), 2, 64, 80, codec.in_channels), np.uint8)
        places = [one[1, : image.shape[0], : image.shape[1]] for one, image in zip(room, images, strict=True)]
        places[0] = np.empty_like(images[0])
        codec.decompress_into(blobs, places)
        for blob, place in zip(blobs, places, strict=True):
            assert np.array_equal(place, codec.decompress(blob, decoder="linear"))
        assert not room[:, 0].any() and not room[:, 1, 40:].any()
    with pytest.raises(ArgumentError, match=r"uint8 \(40, 56, .\) is expected"):
        codec.decompress_into(blobs[:1], [room[0, 0]])


def test_prefixes(codec: Codec) -> None:
    image = drawn("photo", 50, 70, codec.in_channels)
    blob = codec.compress(image)
    whole = codec.read_latent(blob)
    n = codec.group_channels
    for channels in (1, n - 1, n, n + 1, codec.channels - 1, codec.channels):
        np.testing.assert_array_equal(codec.read_latent(blob, channels), whole[:channels])
        np.testing.assert_array_equal(codec.read_latent([blob, blob], channels)[1], whole[:channels])
        decoded = codec.decompress(blob, channels, decoder="linear")
        np.testing.assert_array_equal(decoded, codec.decode(whole[None], channels, size=(50, 70), decoder="linear")[0])
        np.testing.assert_array_equal(decoded, codec.decode(whole[None, :channels], size=(50, 70), decoder="linear")[0])


def test_a_blob_cut_after_its_first_groups_gives_them(codec: Codec) -> None:
    image = drawn("photo", 50, 70, codec.in_channels)
    blob = codec.compress(image)
    quality = []
    for g, end in enumerate(split_sample(blob).ends):
        channels = (g + 1) * codec.group_channels
        cut = blob[:end]
        np.testing.assert_array_equal(codec.read_latent(cut, channels), codec.read_latent(blob, channels))
        np.testing.assert_array_equal(codec.read_latent([cut, blob], channels)[0], codec.read_latent(blob, channels))
        np.testing.assert_array_equal(
            codec.decompress(cut, channels, decoder="linear"), codec.decompress(blob, channels, decoder="linear")
        )
        quality.append(psnr(codec.decompress(cut, channels, decoder="linear"), image))
    assert quality == sorted(quality)


def test_groups_decode_alone_and_join_to_the_blob(codec: Codec) -> None:
    image = drawn("photo", 33, 47, codec.in_channels)
    groups = codec.compress_groups(image, 60)
    assert codec.join_groups(groups, 33, 47) == codec.compress(image, 60)
    assert len(groups) == codec.groups
    assert {group_info(group).quality for group in groups} == {60}
    latent = codec.encode(image[None], 60)[0]
    assert codec.encode_latent_groups(latent, 60) == groups
    n = codec.group_channels
    for g in reversed(range(codec.groups)):
        out = np.empty((1, n, *latent.shape[1:]), np.int8)
        codec.read_groups(Blobs.whole([groups[g]]), out)
        np.testing.assert_array_equal(out[0], latent[g * n : (g + 1) * n])


@settings(deadline=None, max_examples=25)
@given(
    name=names, height=st.integers(1, 20), width=st.integers(1, 20), spread=st.sampled_from([0, 0.3, 3, 300]),
    quality=st.none() | st.integers(1, 100), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_latent_is_kept(name: str, height: int, width: int, spread: float, quality: int | None, seed: int) -> None:
    """Also with values that no image gives, -128 among them."""
    codec = load_codec(name)
    values = np.random.default_rng(seed).laplace(0, spread, (codec.channels, height, width))
    latent = np.rint(values).clip(-128, 127).astype(np.int8)
    blob = codec.join_groups(
        codec.encode_latent_groups(latent, quality), *(n * codec.reduction for n in (height, width))
    )
    np.testing.assert_array_equal(codec.read_latent(blob), latent)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_blobs_may_lie_in_any_buffer(codec: Codec, kind: Any) -> None:
    blob = codec.compress(drawn("photo", 20, 30, codec.in_channels))
    given = kind(blob)
    np.testing.assert_array_equal(codec.read_latent(given), codec.read_latent(blob))
    np.testing.assert_array_equal(codec.read_latent((given, given))[1], codec.read_latent(blob))
    np.testing.assert_array_equal(codec.decompress(given, decoder="linear"), codec.decompress(blob, decoder="linear"))


# the same results everywhere


def test_copies_and_pickles_are_the_same_codec(codec: Codec) -> None:
    image = drawn("photo", 20, 30, codec.in_channels)
    for other in (pickle.loads(pickle.dumps(codec)), copy.copy(codec), copy.deepcopy(codec)):
        assert other.sha256 == codec.sha256
        assert other.compress(image) == codec.compress(image)
    assert load_codec(codec.name) is codec


def test_threads_share_a_codec(codec: Codec) -> None:
    images = [drawn("photo", 64, 72 + 8 * i, codec.in_channels, i) for i in range(4)]
    blobs = [codec.compress(image) for image in images]
    decoded = [codec.decompress(blob, decoder="linear") for blob in blobs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(8):
            if codec.compress(images[i]) != blobs[i] or not np.array_equal(
                codec.decompress(blobs[i], decoder="linear"), decoded[i]
            ):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(kernel is None, reason="the native kernel was not built")
def test_every_vector_path_gives_the_same_bytes_and_pixels(codec: Codec) -> None:
    images = [drawn(kind, 75, 131, codec.in_channels, 5) for kind in ("photo", "noise", "checker")]
    results = []
    for path in kernel.kernel_paths():
        kernel.force_path(path)
        try:
            blobs = [codec.compress(p, q, effort) for p in images for q in (10, 60) for effort in EFFORTS]  # type: ignore[arg-type]
            results.append((blobs, [codec.decompress(blob, decoder="linear").tobytes() for blob in blobs]))
        finally:
            kernel.force_path(None)
    assert len(results) == len(kernel.kernel_paths()) >= 1
    assert all(result == results[0] for result in results)


@pytest.mark.skipif(kernel is None, reason="the native kernel was not built")
@pytest.mark.parametrize("effort", EFFORTS)
def test_without_a_kernel_the_same(codec: Codec, effort: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn("photo", 19, 26, codec.in_channels)
    blob = codec.compress(image, effort=effort)
    groups, decoded = codec.compress_groups(image, 90, effort), codec.decompress(blob, decoder="linear")
    monkeypatch.setattr("latentstore.codecs.native.kernel", None)
    slow = codec_from_bytes(codec.artifact_bytes)
    assert slow.compress(image, effort=effort) == blob
    np.testing.assert_array_equal(slow.decompress(blob, decoder="linear"), decoded)
    assert slow.compress_groups(image, 90, effort) == groups
