"""Speech: `mono-f32c32` on the spoken digits of two speakers whom its fit has not heard, whole blobs."""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import numpy as np
import soundfile

from benchmarks.support import recordings

SNR, COMPRESSION = 13.7, 22.9


def main() -> None:
    import latentstore

    common.header("Speech: spoken digits of unseen speakers, 8 kHz", "soundfile")
    codec = latentstore.load_codec(recordings.SPEECH)
    clips = [soundfile.read(file, dtype="float32", always_2d=True)[0] for file in recordings.digits(recordings.UNSEEN)]
    pcm = sum(map(recordings.pcm_bytes, clips))

    def point(quality: int, effort: str = "default") -> tuple[float, float, float]:
        blobs = [codec.compress(clip, quality, effort=effort) for clip in clips]
        ratios = [recordings.snr(clip, codec.decompress(blob)) for clip, blob in zip(clips, blobs, strict=True)]
        size = sum(map(len, blobs))
        return float(np.mean(ratios)), pcm / size, size / len(clips)

    chosen = next(quality for quality in range(20, 101) if point(quality)[0] >= SNR)
    rows = [[f"quality {quality}", *point(quality)] for quality in sorted({10, 30, chosen, 60, 75, 90})]
    rows.append([f"quality {chosen}, fast", *point(chosen, "fast")])
    common.table(["", "mean SNR, dB", "compression", "bytes a clip"], rows)
    bars = common.Bars()
    snr, ratio, _ = point(chosen)
    bars.at_least(f"compression at {snr:.2f} dB, quality {chosen}", ratio, COMPRESSION)
    bars.end()


if __name__ == "__main__":
    main()
