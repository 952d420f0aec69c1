"""Encoding a 512x768 image, one thread: our whole blob beside the encoder of PyPI walloc without its
entropy coder.

Walloc's own entropy coder, lossless WebP, would take most of its time and is left out. libjpeg-turbo and
WebP through Pillow beside it, at about our PSNR.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

from benchmarks.support import peers

BAR = 4.0
JPEG_QUALITY, WEBP_QUALITY = 38, 31  # 31.3 dB on Kodak, our default's


def main() -> None:
    import latentstore

    common.header("Encoding 512x768, one thread", "imagecodecs", "walloc", "torch")
    codec = latentstore.load_codec(common.CODEC)
    images = [image for image in common.kodak() if image.shape[:2] == (512, 768)][:6]
    walloc = {channels: peers.walloc_encoder(channels) for channels in (12, 48)}
    calls = {
        "latentstore, fast setting, to a blob": lambda x: codec.compress(x, effort="fast"),
        "latentstore, default setting, to a blob": codec.compress,
        "walloc's encoder, 12 channels, no entropy coder": walloc[12],
        "walloc's encoder, 48 channels, no entropy coder": walloc[48],
        "libjpeg-turbo": lambda x: peers.JPEG_FAST.encode(x, JPEG_QUALITY),
        "libjpeg-turbo, optimised tables": lambda x: peers.JPEG.encode(x, JPEG_QUALITY),
        "WebP, Pillow's default method": lambda x: peers.WEBP_DEFAULT.encode(x, WEBP_QUALITY),
        "WebP, method 6": lambda x: peers.WEBP.encode(x, WEBP_QUALITY),
    }
    seconds = common.race({name: lambda call=call: [call(x) for x in images] for name, call in calls.items()})
    speed = {name: sum(x.shape[0] * x.shape[1] for x in images) / s / 1e6 for name, s in seconds.items()}
    best = max(speed[name] for name in speed if name.startswith("walloc"))
    common.table(["", "MP/s", "times walloc"], [(name, value, value / best) for name, value in speed.items()])
    bars = common.Bars()
    bars.at_least(
        "fast setting over walloc's encoder (the faster of its two)",
        speed["latentstore, fast setting, to a blob"] / best,
        BAR,
    )
    bars.end()


if __name__ == "__main__":
    main()
