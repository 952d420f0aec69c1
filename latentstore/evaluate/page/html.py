"""An evaluation of images as one HTML file, which needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from latentstore.evaluate.images.crops import Crop
from latentstore.evaluate.images.curves import REFERENCE, decibels
from latentstore.evaluate.page.plots import Line, mark, plot

__all__ = ["page"]

# Nothing may be loaded, whatever the names of files say.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
PLOTS = (("psnr", "PSNR, dB"), ("ms_ssim", "MS-SSIM, dB"), ("ssim", "SSIM, dB"))

Facts = dict[str, Any]


def page(facts: Facts, crops: Sequence[Crop]) -> str:
    """The page. facts: what `figures` gives of an evaluation with curves."""
    here = files("latentstore.evaluate.page")
    style, script = ((here / name).read_text("utf-8") for name in ("page.css", "page.js"))
    images = len({score["entry"] for score in facts["scores"]})
    title = f"{facts['codecs'][0]} beside other codecs"
    machine = ", ".join(f"{name} {value}" for name, value in facts["machine"].items())
    # "<" inside the script could end it
    data = json.dumps(facts, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{images:,} image{"" if images == 1 else "s"}; latentstore {escape(facts["latentstore"])}; '
        f"{escape(machine)}</p>",
        _plots(facts["curves"]),
        _rates(facts["curves"]),
        _missing(facts["missing"]),
        _equal(facts),
        _crops(crops),
        _settings(facts["curves"]),
        _every(facts),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>"
        + "\n".join(body)
        + f'\n<script type="application/json" id="figures">{data}</script>\n<script>{script}</script></body></html>\n'
    )


def _plots(curves: Sequence[Facts]) -> str:
    shown = []
    for figure, label in PLOTS:
        lines = []
        for curve in curves:
            points = [(point["bits_per_pixel"], _scaled(figure, point[figure]), point) for point in curve["points"]]
            lines.append(
                Line(
                    curve["codec"],
                    [
                        (rate, value, f"{point['setting']}: {rate:.3f} bits a pixel, {value:.2f} dB")
                        for rate, value, point in points
                        if value is not None
                    ],
                )
            )
        if any(line.points for line in lines):
            name = label.removesuffix(", dB")
            said = "" if figure == "psnr" else f" {name} in dB is -10 log10(1 - {name})."
            caption = f"<figcaption>Higher and further left is better.{said}</figcaption>"
            shown.append(f"<figure>{plot(lines, label)}{caption}</figure>")
    return (
        f'<h2>Rate and distortion</h2>{_legend(curves)}<div class="plots">{"".join(shown)}</div>'
        '<p class="soft">Every point is one setting; its bits and its figure are means over all images. '
        "The axis of bits is logarithmic.</p>"
    )


def _scaled(figure: str, value: float | None) -> float | None:
    """The figure in decibels; None where it is not finite."""
    if value is None or figure == "psnr":
        return value
    return decibels(value) if value < 1 else None


def _legend(curves: Sequence[Facts]) -> str:
    return (
        '<p class="row">' + " ".join(f"{_key(i)} {escape(curve['codec'])}" for i, curve in enumerate(curves)) + "</p>"
    )


def _key(kind: int) -> str:
    return f'<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{mark(kind, 7, 7)}</svg>'


def _rates(curves: Sequence[Facts]) -> str:
    rows = []
    for i, curve in enumerate(curves):
        near = _nearest(curve, curves[0])
        rows.append(
            [
                f"{_key(i)} {escape(curve['codec'])}",
                _percent(curve["bd_psnr"]),
                _percent(curve["bd_ms_ssim"]),
                f"{near['bits_per_pixel']:.3f}",
                f"{near['encode_mp_s']:.2f}",
                f"{near['decode_mp_s']:.2f}",
            ]
        )
    head = ["codec", "BD-rate, PSNR", "BD-rate, MS-SSIM", "bits a pixel", "encode, MP/s", "decode, MP/s"]
    return (
        f"<h2>BD-rate against {REFERENCE}, and speed</h2>{_table(head, rows)}"
        f'<p class="soft">BD-rate: per cent of bits more than {REFERENCE} takes at equal quality; less is better. '
        "Speed: one thread, millions of pixels a second, at each codec's setting nearest to the middle one of "
        f"{escape(curves[0]['codec'])} in bits, which stand before it.</p>"
    )


def _nearest(curve: Facts, ours: Facts) -> Facts:
    """The point of a curve that is nearest in bits to the middle one of our codec."""
    wanted = ours["points"][len(ours["points"]) // 2]["bits_per_pixel"]
    found: Facts = min(curve["points"], key=lambda point: abs(point["bits_per_pixel"] - wanted))
    return found


def _missing(missing: dict[str, str]) -> str:
    return "".join(f"<p>{escape(name)} is missing: {escape(why)}.</p>" for name, why in missing.items())


def _equal(facts: Facts) -> str:
    rows = []
    for codec in facts["codecs"]:
        own = [score for score in facts["scores"] if score["codec"] == codec]
        bits = sum(score["bits/pixel"] for score in own) / len(own)
        means = facts["means"][codec]
        cells = [_number(means[name], 2 if name == "PSNR" else 4) for name in facts["figures"]]
        rows.append([escape(codec), f"{len(own):,}", f"{bits:.3f}", *cells])
    return (
        "<h2>At equal bytes</h2>"
        + _table(["codec", "images", "bits a pixel", *facts["figures"]], rows)
        + '<p class="soft">Each codec is taken, image by image, at the setting whose file is nearest in bytes to '
        f"that of {escape(facts['codecs'][0])}. Means over the images.</p>"
    )


def _crops(crops: Sequence[Crop]) -> str:
    groups = []
    for one in crops:
        shown = "".join(_figure(one, name, data) for name, data in one.files.items())
        groups.append(
            f'<h3>{escape(one.entry)}</h3><div class="crops" data-entry="{escape(one.entry, quote=True)}">{shown}</div>'
        )
    return (
        "<h2>Crops at equal bytes</h2>"
        '<div id="viewer" role="region" aria-label="Two crops side by side">'
        "<p>Keys: <kbd>←</kbd> <kbd>→</kbd> the codec on the right, <kbd>x</kbd> exchange left and right, "
        "<kbd>n</kbd> <kbd>p</kbd> the next or previous image.</p>"
        '<div class="row" id="images"></div>'
        '<div class="panes">'
        + "".join(
            f'<div><figure aria-live="polite"><img id="{side}-image" alt="">'
            f'<figcaption id="{side}-caption"></figcaption></figure><div class="row" id="{side}"></div></div>'
            for side in ("left", "right")
        )
        + "</div></div>"
        f'<details id="all-crops" open><summary>All crops</summary>{"".join(groups)}</details>'
        '<p class="soft">A crop is where the error of our codec is largest, so it shows our codec at its worst. '
        "Bytes and figures are those of the whole image.</p>"
    )


def _figure(one: Crop, name: str, data: bytes) -> str:
    score = one.scores.get(name)
    said = name if score is None else f"{name}: {score.bytes:,} bytes, PSNR {score.figures[0]:.2f} dB"
    source = base64.b64encode(data).decode("ascii")
    return (
        f'<figure data-codec="{escape(name, quote=True)}"><img src="data:image/png;base64,{source}" '
        f'width="{one.width}" height="{one.height}" alt="{escape(one.entry)}, {escape(name)}">'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _settings(curves: Sequence[Facts]) -> str:
    rows = []
    for curve in curves:
        for i, point in enumerate(curve["points"]):
            name = f"{escape(curve['codec'])}: {escape(curve['said'])}" if i == 0 else ""
            rows.append(
                [
                    name,
                    escape(point["setting"]),
                    f"{point['bits_per_pixel']:.3f}",
                    f"{point['psnr']:.2f}",
                    _number(point["ssim"], 4),
                    _number(point["ms_ssim"], 4),
                    f"{point['encode_mp_s']:.2f}",
                    f"{point['decode_mp_s']:.2f}",
                ]
            )
    head = [
        "codec and its settings",
        "setting",
        "bits a pixel",
        "PSNR",
        "SSIM",
        "MS-SSIM",
        "encode, MP/s",
        "decode, MP/s",
    ]
    return "<h2>Every setting</h2>" + _table(head, rows, "settings")


def _every(facts: Facts) -> str:
    names = facts["figures"]
    rows = [
        [
            escape(score["entry"]),
            escape(score["codec"]),
            f"{score['bytes']:,}",
            f"{score['bits/pixel']:.3f}",
            *(_number(score[name], 2 if name == "PSNR" else 4) for name in names),
        ]
        for score in facts["scores"]
    ]
    skipped = "".join(f"<p>Left out: {escape(path)}: {escape(reason)}</p>" for path, reason in facts["failures"])
    return (
        "<h2>Every image at equal bytes</h2>"
        + _table(["image", "codec", "bytes", "bits a pixel", *names], rows)
        + skipped
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], name: str = "") -> str:
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    mark = f' id="{name}"' if name else ""
    return f'<div class="wide"><table{mark}><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:+.1f} %"
