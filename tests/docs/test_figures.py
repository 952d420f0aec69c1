"""Figures on the pages are those that docs/benchmarks.md has, so that a new run of the benchmarks finds old ones."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
PRINTED = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", BENCHMARKS)]


def section(page: str, heading: str = "") -> str:
    """The part of a page below a heading; without one, all of it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0] if heading else text


def was_printed(figure: str) -> bool:
    """Whether a benchmark printed this figure, or one that it is rounded from."""
    decimals = len(figure.partition(".")[2])
    return any(round(number, decimals) == float(figure) for number in PRINTED)


@pytest.mark.parametrize(
    ("page", "heading", "tables", "least"),
    [("README.md", "", True, 30), ("docs/streaming.md", "How fast", True, 6), ("docs/loading.md", "Workers", False, 3)],
)
def test_long_figures_were_printed(page: str, heading: str, tables: bool, least: int) -> None:
    """Those of three digits or more; in tables alone, or everywhere outside code."""
    text = re.sub(r"^```.*?^```$", "", section(page, heading), flags=re.DOTALL | re.MULTILINE)
    if tables:
        text = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    figures = [figure.replace(",", "") for figure in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]
    long = [figure for figure in figures if len(figure.replace(".", "")) >= 3]
    assert len(long) >= least
    assert not [figure for figure in long if not was_printed(figure)]


def test_speeds_of_decoders() -> None:
    page = section("docs/learned/decoders.md")
    block = BENCHMARKS.split("## Decoders of images on Kodak, one thread")[1].split("\n## ")[0]
    said = re.search(r"decodes ([\d.]+) megapixels a second with `small`, ([\d.]+) with `large`, and (\d+) with", page)
    assert said
    for name, figure in zip(("small", "large", "linear"), said.groups(), strict=True):
        measured = re.search(rf"^{name} +([\d.]+)$", block, re.MULTILINE)
        assert measured and round(float(measured[1]), len(figure.partition(".")[2])) == float(figure), name
