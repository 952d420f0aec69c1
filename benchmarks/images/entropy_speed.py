"""Entropy decoding, blobs to int8 latents, one thread: beside CharLS JPEG-LS of the same latents and
constriction's ANS.

At all 48 channels and at the first 12, on the Kodak images one by one and on 256 px images a batch in a
call. The peers decode one latent a call, JPEG-LS in its best arrangement (the planes stacked); constriction
has one static table, made beforehand. Million symbols (latent values) a second.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from benchmarks.support import peers
from latentstore.codecs import Codec
from latentstore.codecs.entropy.blobs import Blobs

IMAGES_256 = 128
BARS = {"JPEG-LS": 1.2, "constriction": 4.0}
MORE_CHANNELS = 1.8
"""Bar: the time of 48 channels over that of 12, of 256 px images."""


def compare(codec: Codec, blobs: list[bytes], channels: int, batched: bool) -> dict[str, tuple[float, float]]:
    """Name -> (M symbols/s, bytes over ours)."""
    latents = [codec.read_latent(blob, channels=channels) for blob in blobs]
    symbols = sum(latent.size for latent in latents)
    stacked = peers.JPEGLS["JPEG-LS (CharLS), all planes stacked"]
    lossless = {
        "CharLS JPEG-LS": stacked,
        "lossless WebP": peers.lossless()["lossless WebP, planes as colours"],
        "zstd 3": peers.lossless()["zstd 3"],
    }
    # encoding is not measured, and lossless WebP takes seconds an image
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        coded = {name: list(pool.map(peer.encode, latents)) for name, peer in lossless.items()}
    static = [peers.constriction_static(latent) for latent in latents]
    groups = split_groups(codec, blobs, channels)

    def ours() -> None:
        decode_groups(codec, groups, latents, batched)

    def each(peer: peers.Lossless, parts: list[list[bytes]]) -> Callable[[], None]:
        def call() -> None:
            for part in parts:
                peer.decode(part)

        return call

    calls: dict[str, Callable[[], object]] = {"latentstore": ours}
    calls |= {name: each(peer, coded[name]) for name, peer in lossless.items()}
    calls["constriction"] = lambda: [decode() for _, decode in static]
    seconds = common.race(calls, rounds=9, budget_s=40)
    sizes = {"latentstore": sum(len(group) for sample in groups for group in sample)}
    sizes |= {name: sum(len(part) for parts in coded[name] for part in parts) for name in lossless}
    sizes["constriction"] = sum(size for size, _ in static)
    return {name: (symbols / seconds[name] / 1e6, sizes[name] / sizes["latentstore"]) for name in calls}


def times(codec: Codec, blobs: list[bytes], batched: bool) -> float:
    """The time of all channels over that of the first group."""
    calls: dict[str, Callable[[], object]] = {}
    for channels in (codec.channels, codec.group_channels):
        groups = split_groups(codec, blobs, channels)
        latents = [codec.read_latent(blob, channels=channels) for blob in blobs]

        def call(groups: list[list[bytes]] = groups, latents: list[np.ndarray] = latents) -> None:
            decode_groups(codec, groups, latents, batched)

        calls[str(channels)] = call
    seconds = common.race(calls, rounds=99, budget_s=8, clock=time.process_time)
    return seconds[str(codec.channels)] / seconds[str(codec.group_channels)]


def split_groups(codec: Codec, blobs: list[bytes], channels: int) -> list[list[bytes]]:
    """The group blobs of the first `channels` of each sample blob."""
    from latentstore.codecs.bitstream.sample import split_sample

    wanted = channels // codec.group_channels
    parts = []
    for blob in blobs:
        info = split_sample(blob)
        parts.append([blob[a:b] for a, b in zip(info.starts[:wanted], info.ends[:wanted], strict=True)])
    return parts


def decode_groups(codec: Codec, groups: list[list[bytes]], latents: list[np.ndarray], batched: bool) -> None:
    """One call for all samples (they must agree in shape), or one a sample."""
    for first in range(0, len(groups), len(groups) if batched else 1):
        chosen = groups[first : first + len(groups)] if batched else groups[first : first + 1]
        buffers = [group for sample in chosen for group in sample]
        h, w = latents[first].shape[1:]
        out = np.empty((len(buffers), codec.group_channels, h, w), np.int8)
        codec.read_groups(Blobs.whole(buffers), out)


def main() -> None:
    import latentstore

    common.header("Entropy decoding, one thread", "imagecodecs", "constriction")
    codec = latentstore.load_codec(common.CODEC)
    sets = {
        "Kodak": (common.kodak(), False),
        f"{IMAGES_256} of 256x256": (
            [common.at_256(Image.open(path)) for path in common.labelled()[:IMAGES_256]],
            True,
        ),
    }
    rows, ratios, more = [], {}, {}
    for name, (images, batched) in sets.items():
        blobs = [codec.compress(image) for image in images]
        more[name] = times(codec, blobs, batched)
        for channels in (codec.channels, codec.group_channels):
            result = compare(codec, blobs, channels, batched)
            rows += [(f"{name}, {channels} channels", peer, speed, size) for peer, (speed, size) in result.items()]
            for peer, short in (("CharLS JPEG-LS", "JPEG-LS"), ("constriction", "constriction")):
                ratios[f"{name}, {channels} channels, speed over {short}"] = (
                    result["latentstore"][0] / result[peer][0],
                    BARS[short],
                )
    common.table(["", "coder", "M symbols/s", "times our bytes"], rows)
    label = f"time of {codec.channels} channels over that of {codec.group_channels}"
    print(f"Kodak, {label}: {more['Kodak']:.2f}")
    bars = common.Bars()
    small = f"{IMAGES_256} of 256x256"
    bars.at_most(f"{small}, {label}", more[small], MORE_CHANNELS)
    for what, (figure, limit) in ratios.items():
        bars.at_least(what, figure, limit)
    bars.end()


if __name__ == "__main__":
    main()
