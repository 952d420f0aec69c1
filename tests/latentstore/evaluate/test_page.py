"""The page of an evaluation: it stands alone, and says what the JSON says. A browser, where there is one, runs it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_images import shapes
from PIL import Image

from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError
from latentstore.evaluate.api import evaluate
from latentstore.evaluate.images import peers
from latentstore.evaluate.images.crops import ORIGINAL

# Names of files are text of others: they must not become tags, attributes or scripts.
EVIL = "<img src=x onerror=alert(1)>&\"'.png"
VOID = {"meta", "img", "br", "line", "circle", "polygon", "polyline", "link", "input"}


class Parsed(HTMLParser):
    """What a page holds. Every tag that is opened must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[-1] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, with the page and the JSON that the command wrote of them."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "images").mkdir()
    Image.fromarray(shapes(192, 200)).save(folder / "images" / "a.png")
    Image.fromarray(shapes(176, 184)).save(folder / "images" / EVIL)
    (folder / "images" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    with pytest.MonkeyPatch.context() as patch:  # fewer settings than a user gets: each takes time
        patch.setattr("latentstore.evaluate.images.curves.QUALITIES", (10, 50, 90))
        whole = peers.image_peers

        def fewer() -> tuple[dict[str, peers.ImagePeer], dict[str, str]]:
            found, missing = whole()
            short = {
                name: peers.ImagePeer(peer.said, peer.longest, peer.encode, peer.decode, peer.setting, peer.curve[::3])
                for name, peer in found.items()
                if name in ("JPEG", "WebP", "JPEG 2000")
            }
            return short, missing | {"Some <codec>": "it is not installed"}

        patch.setattr("latentstore.evaluate.images.scores.image_peers", fewer)
        command = ["evaluate", str(folder / "images"), "--html", str(folder / "page.html")]
        assert main([*command, "--json", str(folder / "figures.json")]) == 3
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "page.html").read_text("utf-8")


@pytest.fixture(scope="module")
def parsed(text: str) -> Parsed:
    return Parsed(text)


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "figures.json").read_text())


def test_the_page_needs_nothing_else(text: str, parsed: Parsed) -> None:
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset"):
                assert value is not None and value.startswith("data:image/png;base64,")
    assert "@import" not in text and "url(" not in text
    policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:")
    assert not re.search(r"https?://", text.replace("http-equiv", ""))


def test_names_of_files_stay_text(text: str, parsed: Parsed) -> None:
    assert "<img src=x" not in text
    assert EVIL in "".join(parsed.texts)
    assert len(parsed.scripts) == 2
    assert EVIL in {image["data-entry"] for image in parsed.all("div") if "data-entry" in image}
    assert "Some <codec> is missing: it is not installed." in "".join(parsed.texts)


def test_the_figures_inside_are_those_of_the_json(parsed: Parsed, facts: dict[str, Any]) -> None:
    assert json.loads(parsed.scripts[0]) == facts
    assert facts["version"] == 1
    assert [curve["codec"] for curve in facts["curves"]] == ["rgb-f8c48", "JPEG", "WebP", "JPEG 2000"]
    assert facts["missing"]["Some <codec>"] == "it is not installed"
    assert [path for path, _ in facts["failures"]] == ["bad.png"]


def test_the_tables_say_what_the_json_says(parsed: Parsed, facts: dict[str, Any]) -> None:
    rates, equal, settings, every = parsed.tables
    for row, curve in zip(rates[1:], facts["curves"], strict=True):
        assert row[0].strip() == curve["codec"]
        both = curve["bd_psnr"], curve["bd_ms_ssim"]
        assert row[1:3] == ["none" if rate is None else f"{rate:+.1f} %" for rate in both]
    assert rates[2][1:3] == ["+0.0 %", "+0.0 %"]
    assert rates[1][1] != "none"
    for row, codec in zip(equal[1:], facts["codecs"], strict=True):
        means = facts["means"][codec]
        assert [row[0], *row[3:]] == [codec, f"{means['PSNR']:.2f}", f"{means['SSIM']:.4f}", f"{means['MS-SSIM']:.4f}"]
    points = [point for curve in facts["curves"] for point in curve["points"]]
    for row, point in zip(settings[1:], points, strict=True):
        said = [f"{point['bits_per_pixel']:.3f}", f"{point['psnr']:.2f}", f"{point['ssim']:.4f}"]
        assert row[1:5] == [point["setting"], *said]
    assert "rgb-f8c48: all channels, decoder large" in settings[1][0]
    assert any("4:2:0, Huffman tables optimised" in row[0] for row in settings)
    for row, score in zip(every[1:], facts["scores"], strict=True):
        assert row[:4] == [score["entry"], score["codec"], f"{score['bytes']:,}", f"{score['bits/pixel']:.3f}"]


def test_the_plots_stand_where_the_figures_say(parsed: Parsed, facts: dict[str, Any]) -> None:
    lines = parsed.all("polyline")
    assert len(lines) == 3 * len(facts["curves"])
    for line, curve in zip(lines, facts["curves"], strict=False):
        places = [tuple(map(float, pair.split(","))) for pair in str(line["points"]).split()]
        assert len(places) == len(curve["points"])
        rates = np.log([point["bits_per_pixel"] for point in curve["points"]])
        values = [point["psnr"] for point in curve["points"]]
        for place, figure in ((0, rates), (1, values)):
            found = np.array([at[place] for at in places])
            # a straight map from the figure to the place
            slope, start = np.polyfit(figure, found, 1)
            np.testing.assert_allclose(slope * np.asarray(figure) + start, found, atol=0.11)
            assert (slope > 0) == (place == 0)


def test_crops_are_cut_from_the_images(parsed: Parsed, facts: dict[str, Any]) -> None:
    shown = [figure["data-codec"] for figure in parsed.all("figure") if "data-codec" in figure]
    assert shown == 2 * [ORIGINAL, *facts["codecs"]]
    images = [image for image in parsed.all("img") if image.get("src")]
    assert len(images) == len(shown)
    first = Image.open(io.BytesIO(base64.b64decode(str(images[0]["src"]).partition(",")[2])))
    assert first.size in ((200, 192), (184, 176))
    assert first.mode == "RGB"


def test_only_images_have_a_page(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="curves are measured of images; stereo-f256c108 is a codec of audio"):
        evaluate(str(tmp_path), "stereo-f256c108", curves=True)


def test_a_place_that_cannot_be_written_is_said_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (folder, folder / "none" / "page.html"):
        assert main(["evaluate", str(folder / "images"), "--html", str(place)]) == 2
        assert "cannot be written" in capsys.readouterr().err


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed: the page's script was not run")
    return found


# Clicks and keys, then what the page shows; the policy of the page lets no script of others in, so it is appended.
DRIVER = """
<script>
const said = [];
const caption = (side) => document.getElementById(side + "-caption").textContent;
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
const say = () => said.push([caption("left"), caption("right"), document.getElementById("right-image").src.length]);
say(); press("ArrowRight"); say(); press("x"); say(); press("ArrowLeft"); say(); press("n"); say();
document.querySelector("#left button").click(); say();
const viewer = getComputedStyle(document.getElementById("viewer")).display;
const list = document.getElementById("all-crops").open;
document.body.textContent = JSON.stringify({said, viewer, list});
</script>
"""


def test_in_a_browser_crops_are_flipped_by_keys_and_clicks(text: str, facts: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "driven.html"
    place.write_text(text + DRIVER, "utf-8")
    command = [
        browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", place.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode and not ran.stdout:
        pytest.skip(f"Chromium does not start here: {ran.stderr[-200:]}")
    body = re.search(r"<body>(.*?)</body>", ran.stdout, re.DOTALL)
    assert body, ran.stdout[-500:]
    found = json.loads(body[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert (found["viewer"], found["list"]) == ("block", False)
    names = [[left.partition(": ")[0], right.partition(": ")[0]] for left, right, _ in found["said"]]
    ours, jpeg = facts["codecs"][:2]
    assert names == [[ORIGINAL, ours], [ORIGINAL, jpeg], [jpeg, ORIGINAL], [jpeg, facts["codecs"][-1]],
                     [jpeg, facts["codecs"][-1]], [ORIGINAL, facts["codecs"][-1]]]  # fmt: skip
    # another image
    assert found["said"][4][2] != found["said"][3][2]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(peers.features, "check", lambda name: False)
    found, missing = peers.image_peers()
    assert list(found) == ["JPEG", "WebP"]
    assert list(missing) == ["JPEG 2000", "JPEG XL", "AVIF"]
    assert "pip install imagecodecs" in missing["JPEG XL"]


@pytest.mark.parametrize("colours", [1, 3])
def test_peers_give_back_what_they_were_given(colours: int) -> None:
    image = shapes(48, 64)[..., :colours]
    found, _ = peers.image_peers()
    for name, peer in found.items():
        assert len(set(map(peer.setting, peer.curve))) == len(peer.curve)
        small, large = (peer.encode(image, level) for level in (20, 90))
        assert len(small) < len(large), name
        decoded = peer.decode(large, colours)
        assert decoded.shape == image.shape and decoded.dtype == np.uint8
        assert np.abs(decoded.astype(int) - image).mean() < 12, name
