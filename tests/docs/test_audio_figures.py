"""docs/audio.md says what each codec holds; the figures are those of the artifacts, and of tones that are coded."""

from __future__ import annotations

import numpy as np
import pytest
from paths import ROOT

from latentstore.codecs import AudioCodec, load_codec
from latentstore.codecs.audio.steps import LOWEST_LEVEL
from latentstore.stores.info import codecs_table

PAGE = (ROOT / "docs" / "audio.md").read_text()
NAMES = ("stereo-f256c108", "mono-f32c32")


def codec_of(name: str) -> AudioCodec:
    codec = load_codec(name)
    assert isinstance(codec, AudioCodec)
    return codec


def kilohertz(name: str) -> list[str]:
    return [f"{edge / 1000:.3g} kHz" for edge in codec_of(name).bandwidth()]


def test_the_page_has_the_figures() -> None:
    mid, side = kilohertz("stereo-f256c108")
    assert f"mid (left + right) to {mid}, side (left - right) to {side}" in PAGE
    assert f"all, to {kilohertz('mono-f32c32')[0]}" in PAGE
    assert f"at 48 kHz, mid reaches {codec_of('stereo-f256c108').bandwidth(48_000)[0] / 1000:.3g} kHz" in PAGE
    for name in NAMES:
        assert f"| `{name}` | made for {codec_of(name).rate:,} Hz |" in PAGE
    assert PAGE.count(f"| {20 * np.log10(LOWEST_LEVEL):.0f} to 0 dB of full scale |") == 2


def test_the_command_prints_them() -> None:
    table = codecs_table()
    for name in NAMES:
        for edge in codec_of(name).bandwidth():
            assert f"to {edge:,.0f}" in table
    assert table.count("-120 to 0 dB of full scale") == 2
    assert table.count("bandwidth") == 2  # images have none


@pytest.mark.parametrize("mixed", [0, 1])
def test_tones_confirm_the_bandwidth(mixed: int) -> None:
    codec = codec_of("stereo-f256c108")
    edge = codec.bandwidth()[mixed]

    def kept(hertz: float) -> float:
        time = np.arange(22_050) / codec.rate
        tone = 0.2 * np.sin(2 * np.pi * hertz * time) * np.minimum(1, 50 * np.minimum(time, 0.5 - time))
        signal = np.stack([tone, tone if mixed == 0 else -tone], 1).astype(np.float32)
        decoded = codec.decompress(codec.compress(signal, 75))
        return float(10 * np.log10(np.square(decoded).sum() / np.square(signal).sum() + 1e-12))

    assert all(kept(hertz) > -1 for hertz in np.linspace(200, edge - 500, 9))
    assert kept(edge) > -3
    assert all(kept(hertz) < -20 for hertz in (edge + 800, 10_000))
