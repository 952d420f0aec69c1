"""The API reference can be built: every public name has a docstring, and pdoc has nothing to warn of."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from paths import ROOT


def test_the_reference_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("torch", "pdoc"):
        pytest.importorskip(needed)
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "api"))
    reference = importlib.import_module("reference")
    monkeypatch.setattr(reference, "OUTPUT", tmp_path)
    reference.main()
    for module in reference.MODULES:
        page = (tmp_path / (module.replace(".", "/") + ".html")).read_text(encoding="utf-8")
        for public in importlib.import_module(module).__all__:
            assert f'id="{public}"' in page or f"{public}.html" in page, f"{module}.{public}"
    codec = (tmp_path / "latentstore" / "loaders.html").read_text(encoding="utf-8")
    assert "<strong>channels</strong>" in codec  # arguments are a list


def test_arguments_become_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("torch", "pdoc"):  # where there is no torch, there is no pdoc either
        pytest.importorskip(needed)
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "api"))
    listed = importlib.import_module("reference").listed
    assert listed("Opens it.\n\nurl: where. channels: how\nmany.\nsize: of it.\n\nNote: no list.") == (
        "Opens it.\n\n- **url**: where.\n- **channels**: how\nmany.\n- **size**: of it.\n\nNote: no list."
    )
