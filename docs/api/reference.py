"""Renders the API reference from the docstrings with pdoc: `python -W error docs/api/reference.py`, or `./docs/build`.

A module is documented by what its `__all__` lists. A public name without a docstring ends the build.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pdoc.doc
import pdoc.render

import latentstore

OUTPUT = Path(__file__).parents[1] / "_build"
MODULES = (
    "latentstore",
    "latentstore.codecs",
    "latentstore.codecs.arrays.zarr_codec",
    "latentstore.codecs.arrays.numcodecs_codec",
    "latentstore.loaders",
    "latentstore.writing",
    "latentstore.zarr",
)
# Methods that a codec only has because Zarr calls them; those for users are documented in the class itself.
OF_ZARR = ("latentstore.codecs.arrays.zarr_codec", "latentstore.codecs.arrays.numcodecs_codec")
# How our docstrings speak of arguments and attributes: names and a colon, at the start of a line or after a sentence.
NAMED = re.compile(r"(?:^|(?<=\.)\s+)((?:[a-z]\w*, )*[a-z]\w*): ", re.MULTILINE)


def documented(name: str) -> pdoc.doc.Module:
    """The module, functions before classes, with every lazy name looked up: pdoc reads the module's dictionary."""
    module = import_module(name)
    module.__all__ = sorted(module.__all__, key=lambda public: (public[0].isupper(), public))
    for public in module.__all__:
        setattr(module, public, getattr(module, public))
    return pdoc.doc.Module(module)


def without_docstring(module: pdoc.doc.Module) -> list[str]:
    """The public names of a module, and the public methods of its classes, that say nothing."""
    found = []
    for member in module.members.values():
        if member.name.startswith("_") or inspect.ismodule(getattr(member, "obj", None)):
            continue
        members = [member]
        if isinstance(member, pdoc.doc.Class) and module.modulename not in OF_ZARR:
            members += [one for one in member.own_members if isinstance(one, pdoc.doc.Function)]
        found += [one.fullname for one in members if not one.docstring and not one.name.startswith("_")]
    return found


def listed(docstring: str) -> str:
    """Markdown in which a paragraph that begins with the name of an argument or attribute is a list of them."""
    paragraphs = docstring.split("\n\n")
    for i, text in enumerate(paragraphs):
        if NAMED.match(text):
            paragraphs[i] = NAMED.sub(r"\n- **\1**: ", text).replace("\n\n", "\n").lstrip()
    return "\n\n".join(paragraphs)


def main() -> None:
    modules = {name: documented(name) for name in MODULES}
    if silent := [name for module in modules.values() for name in without_docstring(module)]:
        sys.exit(f"These public names have no docstring: {', '.join(silent)}.")
    pdoc.render.configure(docformat="markdown", show_source=False, footer_text=f"latentstore {latentstore.__version__}")
    to_html = pdoc.render.env.filters["to_html"]
    pdoc.render.env.filters["to_html"] = lambda docstring: to_html(listed(docstring))
    for name, module in modules.items():
        page = OUTPUT / (name.replace(".", "/") + ".html")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
    (OUTPUT / "index.html").write_text(pdoc.render.html_index(modules), encoding="utf-8")
    (OUTPUT / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    print(OUTPUT / "index.html")


if __name__ == "__main__":
    main()
