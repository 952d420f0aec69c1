"""Bits of our entropy coder beside lossless coders on the same latents: Kodak at the default quality.

Ours are whole sample blobs, headers, checksums and all; the peers' are their own files, in the arrangement
that serves each best (all are shown). JPEG-LS's best arrangement is the reference.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

from benchmarks.support import peers

BAR = 0.86


def main() -> None:
    import latentstore

    common.header("Lossless coding of the latents of Kodak", "imagecodecs", "pcodec", "constriction")
    codec = latentstore.load_codec(common.CODEC)
    images = common.kodak()
    blobs = [codec.compress(image) for image in images]
    latents = [codec.read_latent(blob) for blob in blobs]
    sizes = {"latentstore rgb-f8c48": sum(map(len, blobs))}
    for name, peer in peers.lossless().items():
        sizes[name] = sum(len(part) for latent in latents for part in peer.encode(latent))
    sizes["constriction, one static table (not counted)"] = sum(
        peers.constriction_static(latent)[0] for latent in latents
    )
    best = min(sizes[name] for name in peers.JPEGLS)
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    common.table(
        ["", "bytes", "bits per pixel", "times JPEG-LS"],
        [(name, size, 8 * size / pixels, size / best) for name, size in sizes.items()],
    )
    bars = common.Bars()
    bars.at_most("bits over JPEG-LS's best arrangement", sizes["latentstore rgb-f8c48"] / best, BAR)
    bars.end()


if __name__ == "__main__":
    main()
