"""Speed of audio: encoding beside PyPI walloc's 1-D encoder, decoding, random access, and borders of segments.

One thread. Walloc's encoder is its wavelet packets and its lightweight 1x1 convolution, with weights that are random
(its checkpoints are no part of the package), and no entropy coding; ours ends with whole blobs.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from benchmarks.support import peers, recordings

if TYPE_CHECKING:
    from latentstore.codecs import AudioCodec

ENCODE_BAR, ACCESS_BAR, SEAM_BAR = 5.0, 300.0, 0.1
HOUR = 3600  # seconds


def main() -> None:
    import latentstore

    common.header("Audio: speed, one thread", "soundfile", "walloc", "torch")
    bars = common.Bars(later=True)
    codec = latentstore.load_codec(recordings.MUSIC)
    tracks = list(recordings.music().values())
    samples = sum(track.size for track in tracks)
    blobs = [codec.compress(track) for track in tracks]
    walloc = {channels: peers.walloc_audio_encoder(channels) for channels in (27, 108)}
    files = {kind: [written(track, kind) for track in tracks] for kind in ("FLAC", "OGG", "MP3")}
    calls = {
        "latentstore, fast setting, to blobs": lambda: [codec.compress(x, effort="fast") for x in tracks],
        "latentstore, default setting, to blobs": lambda: [codec.compress(x) for x in tracks],
        "walloc's encoder, 27 channels, no entropy coder": lambda: [walloc[27](x) for x in tracks],
        "walloc's encoder, 108 channels, no entropy coder": lambda: [walloc[108](x) for x in tracks],
        "FLAC": lambda: [written(x, "FLAC") for x in tracks],
        "Ogg Vorbis": lambda: [written(x, "OGG") for x in tracks],
        "MP3": lambda: [written(x, "MP3") for x in tracks],
    }
    seconds = common.race(calls, rounds=5)
    best = min(s for name, s in seconds.items() if name.startswith("walloc"))
    print("\nEncoding; samples of both inputs counted")
    common.table(["", "M samples/s", "times walloc"], [[n, samples / s / 1e6, best / s] for n, s in seconds.items()])
    fast = seconds["latentstore, fast setting, to blobs"]
    bars.at_least("encoding, fast, over walloc's encoder (the faster of its two)", best / fast, ENCODE_BAR)

    calls = {
        "latentstore, 108 channels to latents": lambda: [codec.read_latent(b) for b in blobs],
        "latentstore, 27 channels to latents": lambda: [codec.read_latent(b, 27) for b in blobs],
        "latentstore, 108 channels to audio": lambda: [codec.decompress(b) for b in blobs],
        "latentstore, 27 channels to audio": lambda: [codec.decompress(b, 27) for b in blobs],
    }
    for kind, held in files.items():
        calls[kind] = lambda held=held: [soundfile.read(io.BytesIO(b), dtype="float32") for b in held]
    seconds = common.race(calls, rounds=5)
    print("\nDecoding")
    common.table(["", "M samples/s"], [[name, samples / s / 1e6] for name, s in seconds.items()])

    access(codec, tracks, bars)
    print()
    bars.end()


def written(track: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    # the Vorbis encoder of libsndfile overruns its stack when given ten seconds in one call
    with soundfile.SoundFile(out, "w", 44100, 2, format=kind) as file:
        for at in range(0, len(track), 1 << 15):
            file.write(track[at : at + (1 << 15)])
    return out.getvalue()


def access(codec: AudioCodec, tracks: list[np.ndarray], bars: common.Bars) -> None:
    second = 44100
    hour = np.concatenate([tracks[i % len(tracks)] for i in range(HOUR // 10)])[: HOUR * second]
    blob = codec.compress(hour, effort="fast")
    start = time.perf_counter()
    whole = codec.decompress(blob)
    taken = time.perf_counter() - start
    places = range(1795 * second, 1805 * second, second)
    each = []
    for place in places:
        part = codec.decompress(blob, start=place, stop=place + second)
        if not np.array_equal(part, whole[place : place + second]):
            raise SystemExit(f"the second at {place} differs from that of the whole")
        each.append(min(timed(codec, blob, place, second) for _ in range(5)))
    print(f"\nAn hour of music in {len(blob) / 1e6:.1f} MB: decoding all of it takes {taken:.2f} s,")
    print(f"one second in its middle {1e3 * np.mean(each):.2f} ms (mean of ten, {1e3 * max(each):.2f} at most)")
    bars.at_least("an hour over one second in its middle", taken / float(np.mean(each)), ACCESS_BAR)
    seams(hour, whole, 1024 * codec.reduction, bars)


def timed(codec: AudioCodec, blob: bytes, place: int, second: int) -> float:
    start = time.perf_counter()
    codec.decompress(blob, start=place, stop=place + second)
    return time.perf_counter() - start


def seams(own: np.ndarray, decoded: np.ndarray, span: int, bars: common.Bars) -> None:
    """Energy around borders of segments, decoded over the signal's own, beside that half-way between borders."""
    levels = {}
    for where, first in (("at borders", span), ("between", span // 2)):
        places = np.arange(first, len(own) - 128, span)[:, None] + np.arange(-128, 128)
        energy = [np.square(signal[places], dtype=np.float64).sum() for signal in (decoded, own)]
        error = np.square(decoded[places] - own[places], dtype=np.float64).mean()
        levels[where] = float(10 * np.log10(energy[0] / energy[1])), float(10 * np.log10(error))
    print(f"\nWithin 128 samples of the {len(places)} borders of segments, and half-way between them")
    columns = ["", "energy, dB from the signal's own", "error, dB of full scale"]
    common.table(columns, [[where, *level] for where, level in levels.items()])
    away = abs(levels["at borders"][0] - levels["between"][0])
    bars.at_most("energy at borders of segments, dB from what it is between them", away, SEAM_BAR)


if __name__ == "__main__":
    main()
