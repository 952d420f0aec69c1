"""The front end of images: its options, and the signals of entries."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentstore.codecs import load_codec
from latentstore.codecs.errors import ArgumentError, ImageError
from latentstore.codecs.modality import IMAGE
from latentstore.sources.item import Field, Item
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings

FRONT_END = front_end_of(IMAGE)


class Made(Item):
    """An entry whose data a test has made."""

    def load(self) -> tuple[bytes | np.ndarray, dict[str, Field]]:
        return self.data, {"label": 3}

    data: Any = None


def made(data: Any) -> Item:
    item = Made("a", "a.png")
    object.__setattr__(item, "data", data)
    return item


def settings(**options: Any) -> Settings:
    given: dict[str, Any] = {"size": None, "color": None, "damaged": None, "seconds": None, "rate": None, **options}
    return FRONT_END.settings(load_codec("gray-f8c16"), quality=60, effort="fast", raise_errors=True, **given)


def test_options_are_filled_in() -> None:
    assert settings() == Settings("L", 60, "fast", True, size=256)
    assert settings(size="native").size is None
    assert settings(size="32").fixed_size == (32, 32)
    assert pickle.loads(pickle.dumps(settings())) == settings()
    assert settings().nouns == IMAGE.nouns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": (1 << 15) + 1}, "size is 32769"),
        ({"size": "large"}, "size is 'large'"),
        ({"seconds": 1.0}, "seconds applies to audio, and gray-f8c16 is a codec of images"),
        ({"rate": 8000}, "rate applies to audio"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        settings(**options)


def test_signals_are_of_the_mode_and_size_asked_for() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    signals = FRONT_END.signals(settings(size=16), load_codec("gray-f8c16"))
    signal = signals.read(made(out.getvalue()))
    assert isinstance(signal.values, np.ndarray)
    assert (signal.values.shape, signal.width, signal.height, signal.fields) == ((16, 16, 1), 16, 16, {"label": 3})
    assert signals.bytes_in == len(out.getvalue())
    native = FRONT_END.signals(settings(size="native"), load_codec("gray-f8c16")).read(made(pixels))
    assert (native.width, native.height) == (30, 20)
    with pytest.raises(ImageError):
        signals.read(made(b"no image"))
    signals.close()


def test_facts_tell_what_decides_the_bytes() -> None:
    facts = FRONT_END.facts(settings(size=16), 7)
    names = {"resize", "color", "damaged", "images", "pillow", "simplejpeg"}
    assert (facts["resize"], facts["images"], set(facts)) == (16, 7, names)
    assert FRONT_END.facts(settings(size="native"), 7)["resize"] == "native"


def test_every_entry_is_an_image() -> None:
    items = [made(b"")]
    assert FRONT_END.entries(items, settings()) is items
