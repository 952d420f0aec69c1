"""`latentstore.Writer` with fields of latents: what goes in comes back; errors; resuming; versions; gc; ranks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed_stores import (
    FIELDS,
    HEARD,
    IMAGE,
    IMAGES,
    QUALITY,
    RECORDINGS,
    TEXT,
    image,
    latent,
    recording,
    sample,
    write,
)
from PIL import Image

import latentstore
from latentstore import ArgumentError, Encoder, Latents, StoreError, Writer, load_codec
from latentstore.codecs.codec import OutlierWarning
from latentstore.loaders.tensors import layout
from latentstore.stores.verify import verify
from latentstore.writing.tensors.gc import collect_garbage

ONE = {"image": IMAGE}


def held(url: str | Path) -> dict[str, np.ndarray]:
    """The images' latents by key, of a store that `verify` finds nothing wrong with."""
    assert verify(str(url)).problems == []
    ds = latentstore.open(url, fields=["image"])
    return dict(zip(ds.keys(), ds.read()["image"], strict=True))


def test_a_store_of_latents_alone(tmp_path: Path) -> None:
    write(tmp_path / "x", range(40), {"image": IMAGE, "label": int})
    assert {key: one.tobytes() for key, one in held(tmp_path / "x").items()} == {
        f"{number}": latent(number).tobytes() for number in range(40)
    }


def test_a_codec_stands_for_its_default_quality(tmp_path: Path) -> None:
    with Writer(tmp_path / "x", {"image": IMAGES, "grey": load_codec("gray-f8c16")}) as writer:
        writer.write("a", {"image": image(1), "grey": image(1)[..., 0]})
    ds = latentstore.open(tmp_path / "x")
    assert ds.latents["image"].quality == IMAGES.default_quality
    np.testing.assert_array_equal(ds[0]["image"], IMAGES.encode(image(1)[None])[0])
    assert ds[0]["grey"].shape == (16, 4, 5)


def test_the_artifact_stands_in_the_store(tmp_path: Path) -> None:
    write(tmp_path / "x", range(3), HEARD)
    manifest = json.loads((tmp_path / "x" / layout.MANIFEST).read_text())
    assert manifest["coders"]["image"] == IMAGES.sha256 and manifest["coders"]["audio"] == RECORDINGS.sha256
    data = (tmp_path / "x" / layout.coder_name(IMAGES.sha256)).read_bytes()
    assert hashlib.sha256(data).hexdigest() == IMAGES.sha256


def test_what_may_be_given(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    whole = image(3)
    given = [whole, torch.from_numpy(whole.copy()), Image.fromarray(whole), np.asfortranarray(whole), whole[::-1][::-1]]
    with Writer(tmp_path / "x", ONE) as writer:
        for at, value in enumerate(given):
            writer.write(f"{at}", {"image": value})
        reused = np.empty_like(whole)
        for at in range(5, 15):
            reused[:] = whole
            writer.write(f"{at}", {"image": reused})
            reused[:] = 0
    assert {one.tobytes() for one in held(tmp_path / "x").values()} == {latent(3).tobytes()}


@pytest.mark.parametrize(("values", "said"), [
    ({"image": image(1)[..., 0]}, r"sample 'a', field 'image': The image is uint8 \(32, 40\)"),
    ({"image": image(1).astype(np.float32)}, "sample 'a', field 'image': The image is float32"),
    ({"image": Image.fromarray(image(1)).convert("P")}, "sample 'a', field 'image' is Image; a NumPy array"),
    ({"image": "a.png"}, "sample 'a', field 'image' is str"),
    ({"image": image(1)[:0]}, "sample 'a', field 'image': An image of 40 x 0 pixels"),
    ({"audio": np.zeros((9, 2), np.float32)}, r"sample 'a', field 'audio': The audio is float32 \(9, 2\)"),
    ({"audio": np.full((9, 1), np.nan, np.float32)}, "sample 'a', field 'audio': The audio holds values"),
    ({"text": np.zeros(3)}, "text"), ({"label": "x"}, "label"),
])  # fmt: skip
def test_what_does_not_fit_is_not_added(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    with Writer(tmp_path / "x", HEARD) as writer:
        writer.write("b", sample(0, HEARD))
        with pytest.raises(ArgumentError, match=said):
            writer.write("a", sample(1, HEARD) | values)
    assert latentstore.open(tmp_path / "x").keys() == ["b"] and verify(str(tmp_path / "x")).problems == []


@pytest.mark.parametrize(("codec", "quality", "said"), [
    ("rgb-f8c48", None, "it is a codec of this package"), (IMAGES, 0, "quality is 0"), (IMAGES, "x", "quality is 'x'"),
])  # fmt: skip
def test_declarations_that_cannot_be_meant(codec: Any, quality: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Latents(codec, quality)


@pytest.mark.parametrize(("fields", "encoder"), [
    ({"image": IMAGE}, Encoder("x")), (FIELDS, {"image": Encoder("x")}),
])  # fmt: skip
def test_latents_have_no_encoder(fields: Any, encoder: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="an encoder is given"):
        Writer(tmp_path / "x", fields, encoder=encoder)


def test_a_rate_is_that_of_the_codec_or_of_the_field(tmp_path: Path) -> None:
    with Writer(tmp_path / "x", {"audio": RECORDINGS}) as writer:
        writer.write("a", {"audio": (recording(1)[:, 0] * 32767).astype(np.int16)})
    with Writer(tmp_path / "y", {"audio": RECORDINGS, "rate": int}) as writer:
        writer.write("a", {"audio": recording(1), "rate": 16000})
    for name, rate in (("x", 8000), ("y", 16000)):
        own = latentstore.open(tmp_path / name).latents["audio"]
        fields = own.fields(np.array([0]))
        assert fields["rate"].tolist() == [rate] and fields["step"].dtype == np.int64
        assert own.sizes().tolist() == [[1, len(recording(1))]]


def test_what_does_not_fit_int8_is_told(tmp_path: Path) -> None:
    with pytest.warns(OutlierWarning, match="at quality 100 of rgb-f8c48"), Writer(
        tmp_path / "x", {"image": Latents(IMAGES, 100)}
    ) as writer:  # fmt: skip
        writer.write("a", {"image": np.random.default_rng(0).integers(0, 2, (64, 64, 3), np.uint8) * 255})


def test_versions(tmp_path: Path) -> None:
    """Samples are added, replaced and dropped; sums and sizes follow, and only what goes is decoded."""
    url, want = tmp_path / "x", {n: latent(n) for n in range(20)}
    write(url, range(20), HEARD)
    assert latentstore.open(url).latents["image"].size == (32, 40)
    write(url, range(20, 25), HEARD, side=48, resume=True)
    want |= {n: latent(n, 48) for n in range(20, 25)}
    assert latentstore.open(url).latents["image"].size is None
    with Writer(url, HEARD, resume=True) as writer:
        assert writer.missing(["3", "77"]) == ["77"]
        assert writer.write("3", sample(30, HEARD), source="new") and not writer.write("4", sample(31, HEARD))
    want[3] = latent(30)
    with Writer(url, HEARD, resume=True) as writer:
        writer.drop([f"{n}" for n in range(20, 25)])
    for number in range(20, 25):
        del want[number]
    found = held(url)
    assert found.keys() == {f"{n}" for n in want}
    for number, one in want.items():
        np.testing.assert_array_equal(found[f"{number}"], one)
    own = latentstore.open(url).latents["image"]
    assert own.size == (32, 40)
    values = np.stack(list(want.values())) * IMAGES.scale(QUALITY)[:, None, None]
    np.testing.assert_allclose(own.stats.mean, values.mean((0, 2, 3)), atol=1e-5)
    garbage = collect_garbage(url)
    assert garbage.versions == [1, 2, 3] and not any(name.startswith(layout.CODERS) for name in garbage.objects)
    assert held(url).keys() == found.keys()


@pytest.mark.parametrize(("now", "said"), [
    (Latents(IMAGES, 30), "at quality 60, now latents of rgb-f8c48 d9c283e95674 at quality 30"),
    (load_codec("rgb-f16c48"), "rgb-f8c48 d9c283e95674 at quality 60, now latents of rgb-f16c48 22c575c0f386"),
    (TEXT, "'image' was latents of rgb-f8c48"),
])  # fmt: skip
@pytest.mark.parametrize("published", [False, True])
def test_another_codec_is_refused_with_both_named(now: Any, said: str, published: bool, tmp_path: Path) -> None:
    if published:
        write(tmp_path / "x", range(2))
    else:
        with pytest.raises(ZeroDivisionError), Writer(tmp_path / "x", FIELDS, shard_bytes=1) as writer:
            for number in range(20):
                writer.write(f"{number}", sample(number))
            raise ZeroDivisionError
        if not Path(f"{tmp_path / 'x'}.partial/job.json").exists():
            pytest.fail("a run that had written shards is gone on with")
    with pytest.raises(StoreError, match=said):
        Writer(tmp_path / "x", FIELDS | {"image": now}, resume=True)


def test_a_store_that_conversion_made_is_no_such_store(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(image(number)).save(tmp_path / "photos" / f"{number}.png")
    latentstore.convert(tmp_path / "photos", tmp_path / "x", format="versions", codec="rgb-f8c48", size="native")
    with pytest.raises(StoreError, match="that a conversion made: bring it up to date with sync"):
        Writer(tmp_path / "x", {"latent": IMAGES}, resume=True)
    write(tmp_path / "y", range(3))
    with pytest.raises(StoreError, match="is a store of tensors, and one of latents alone is expected"):
        latentstore.sync(tmp_path / "photos", tmp_path / "y")


@pytest.mark.parametrize("kill", [False, True])
def test_ranks(kill: bool, tmp_path: Path) -> None:
    """Two ranks in processes; one is killed and started again."""
    script = """
import sys
sys.path[:0] = sys.argv[3:]
from mixed_stores import HEARD, sample
from latentstore import Writer
rank = int(sys.argv[2])
with Writer(sys.argv[1], HEARD, resume=True, rank=rank, world_size=2, shard_bytes=2000) as writer:
    for key in writer.missing(map(str, range(rank, 60, 2))):
        writer.write(key, sample(int(key), HEARD))
        print(key, flush=True)
"""
    support = Path(__file__).parents[3] / "support"
    paths = [str(support), str(support / "tensors")]

    def begun(rank: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", script, str(tmp_path / "x"), str(rank), *paths]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    running = [begun(0), begun(1)]
    if kill:
        for _ in range(10):
            assert running[1].stdout.readline()  # type: ignore[union-attr]
        running[1].kill()
        running[1].communicate()
        running[1] = begun(1)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: one.communicate(timeout=300), running))
    assert [one.returncode for one in running] == [0, 0]
    found = held(tmp_path / "x")
    assert found.keys() == {f"{n}" for n in range(60)}
    for number in (0, 1, 31, 59):
        np.testing.assert_array_equal(found[f"{number}"], latent(number))


@pytest.mark.parametrize("published", [False, True])
def test_the_order_of_fields_is_that_of_the_store(published: bool, tmp_path: Path) -> None:
    """A writer that goes on may name them in another order."""
    url, turned = tmp_path / "x", dict(reversed(HEARD.items()))
    if published:
        write(url, range(8), HEARD)
    else:
        with pytest.raises(ZeroDivisionError), Writer(url, HEARD, shard_bytes=1000) as writer:
            for number in range(300):
                writer.write(f"{number % 200}x{number}", sample(number % 8, HEARD))
            raise ZeroDivisionError
    with Writer(url, turned, resume=True) as writer:
        assert list(writer.fields) == list(HEARD)
        for number in range(8):
            writer.write(f"{number}", sample(number, HEARD))
        for number in range(8, 12):
            writer.write(f"{number}", sample(number, HEARD))
    found = held(url)
    for number in range(12):
        np.testing.assert_array_equal(found[f"{number}"], latent(number))
