"""The links of all pages: files are there, anchors are headings, and the modules and commands that pages name exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text_of(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = 1
        while anchor in found:
            anchor = f"{anchor.removesuffix(f'-{number - 1}')}-{number}"
            number += 1
        found.add(anchor)
    return found


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    return [re.sub(r"\s+", "", link) for link in re.findall(r"\]\(([^)]+)\)", text_of(page))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert target.is_relative_to(ROOT), f"{name(page)} links out of the repository: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name(page)} links to {link}: there are {sorted(anchors(target))}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md") if "://" not in link}
    for page in PAGES:
        assert page.name == "README.md" or page in linked, f"README does not lead to {name(page)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_that_pages_name_exist(page: Path) -> None:
    if name(page) == "CHANGELOG.md":  # speaks of the past too
        return
    for dotted in sorted(set(re.findall(r"`(latentstore(?:\.\w+)+)", text_of(page)))):
        parts = dotted.split(".")
        if dotted in ("latentstore.json", "latentstore.signal", "latentstore.latent"):  # a file and two codecs
            continue
        for cut in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError as error:
                assert str(error.name).startswith("latentstore"), error
                continue
            break
        for attribute in parts[cut:]:
            # what needs torch is named too, and is not imported here
            assert attribute in dir(found) or hasattr(found, attribute), f"{name(page)} names {dotted}"
            if attribute != parts[-1]:
                found = getattr(found, attribute)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_benchmarks_that_pages_name_exist(page: Path) -> None:
    for dotted in re.findall(r"python\s-m\s(benchmarks(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        assert (ROOT / (dotted.replace(".", "/") + ".py")).is_file(), f"{name(page)} names {dotted}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_that_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(
        r"(?:`|python |\./test )((?:tests|docs|benchmarks|codecs|loaders|latentstore)/[\w./-]*)", text
    ):
        if "NAME" not in path and not path.startswith("docs/_build"):
            assert (ROOT / path).exists(), f"{name(page)} names {path}"
