"""Decoding whole blobs to pixels, linear synthesis, one thread, beside JPEG, WebP and AVIF at about the
same PSNR."""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

from benchmarks.support import peers

BAR = 0.6
# Near our default's 31.3 dB on Kodak; the PSNR reached is printed.
SETTINGS = {
    "libjpeg-turbo": (peers.JPEG, 38),
    "WebP": (peers.WEBP, 31),
    "AVIF": (peers.AVIF, 40),
    "JPEG XL": (peers.JPEGXL, 4.3),
}


def main() -> None:
    from PIL import AvifImagePlugin

    import latentstore

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    common.header("Decoding Kodak to pixels, one thread", "imagecodecs")
    codec = latentstore.load_codec(common.CODEC)
    images = common.kodak()
    coded = {"latentstore, 48 channels": [codec.compress(image) for image in images]}
    coded["latentstore, 12 channels"] = coded["latentstore, 48 channels"]
    decoders = {
        "latentstore, 48 channels": lambda blob: codec.decompress(blob, decoder="linear"),
        "latentstore, 12 channels": lambda blob: codec.decompress(
            blob, channels=codec.group_channels, decoder="linear"
        ),
    }
    for name, (peer, quality) in SETTINGS.items():
        coded[name] = [peer.encode(image, quality) for image in images]
        decoders[name] = peer.decode
    seconds = common.race(
        {name: lambda name=name: [decoders[name](blob) for blob in coded[name]] for name in decoders},
        rounds=9,
    )
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    rows = []
    for name, spent in seconds.items():
        pairs = zip(coded[name], images, strict=True)
        db = sum(common.psnr(decoders[name](blob), image) for blob, image in pairs) / len(images)
        speed = pixels / spent / 1e6
        rows.append((name, f"{db:.2f}", speed, speed * seconds["WebP"] / pixels * 1e6))
    common.table(["", "PSNR, dB", "MP/s", "times WebP"], rows)
    bars = common.Bars()
    bars.at_least("speed over WebP's", seconds["WebP"] / seconds["latentstore, 48 channels"], BAR)
    bars.end()


if __name__ == "__main__":
    main()
