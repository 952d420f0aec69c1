"""The rules of the house, read from the text of every module: which room may import which, and what stands where."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest
from import_arrows import Arrow, Module, circles, read_arrows, read_modules
from paths import ROOT

from latentstore.codecs.modality import MODALITIES

TOP = ("latentstore.codecs", "latentstore.loaders", "latentstore")
"""The folders at the top: each may import itself and those before it."""
CODECS = (
    {"errors"}, {"native", "modality"}, {"arguments"}, {"bitstream"}, {"artifact"}, {"entropy"}, {"tensors"},
    {"neural"}, {"codec"}, {"image", "audio"}, {"load"}, {"arrays", "fit"},
)  # fmt: skip
"""The rooms of `codecs`: each may import itself and those of the lines before it. The reference stands apart."""
PRODUCT = (
    {"progress", "version"}, {"sources", "writing", "stores", "zarr", "foreign", "bench"},
    {"conversion", "evaluate", "fit"}, {"syncing", "train"}, {"demo", "importing"}, {"cli"}, {"__main__"},
)  # fmt: skip
"""The same of `latentstore`."""
REFERENCE = "latentstore.codecs.reference"
BORROWER = "latentstore.codecs.native"
"""The only module that may import the reference: it takes the place of a kernel that was not built."""
MODES = {mode for modality in MODALITIES for mode in modality.modes}
MODALITY_HOMES = ("codecs/image/", "codecs/audio/", "codecs/modality.py")
PILLOW = "latentstore/sources/images/"
"""They ask for the modes of Pillow's images, which have the same names."""
MOST_FILES = 14
UNTRACKED = {"__pycache__", "build", "dist"}


class House:
    """Everything that the rules look at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = read_modules(root)
        self.arrows = read_arrows(self.modules)

    def files(self) -> list[str]:
        """The tracked files; where there is no git, all but what tools leave behind."""
        if (self.root / ".git").exists():
            command = ["git", "-C", str(self.root), "ls-files", "-z"]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            return [name for name in listed.split("\0") if name and (self.root / name).exists()]
        there = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return [path.as_posix() for path in there if not _left_behind(path)]


def _left_behind(path: Path) -> bool:
    hidden = any(part.startswith(".") and part != ".ci" for part in path.parts[:-1])
    tool = any(part in UNTRACKED or part.endswith(".egg-info") for part in path.parts[:-1])
    return hidden or tool or path.suffix in (".so", ".pyc")


def tops(house: House) -> Iterator[str]:
    """Arrows between the folders at the top, types included."""
    for arrow in house.arrows:
        if arrow.target.startswith("latentstore") and _top(arrow.target) > _top(arrow.source):
            yield _said(arrow)


def rooms(house: House) -> Iterator[str]:
    """Arrows between rooms, where a program follows them."""
    for package, levels in (("latentstore.codecs", CODECS), ("latentstore", PRODUCT)):
        level = {room: i for i, line in enumerate(levels) for room in line}
        for arrow in house.arrows:
            source, target = (_room(name, package) for name in (arrow.source, arrow.target))
            if arrow.typing or not source or not target or source == target or "reference" in (source, target):
                continue
            if source not in level or target not in level:
                yield f"{package}.{source if source not in level else target} is in no line of the table here"
            elif level[source] <= level[target]:
                yield _said(arrow)


def circular(house: House) -> Iterator[str]:
    """Modules that import one another, however far around."""
    for group in circles(house.arrows):
        yield " <> ".join(group)


def reference(house: House) -> Iterator[str]:
    """The reference borrows nothing and lends nothing."""
    for arrow in house.arrows:
        inside = [(name + ".").startswith(REFERENCE + ".") for name in (arrow.source, arrow.target)]
        if arrow.target.startswith("latentstore") and inside[0] != inside[1] and arrow.source != BORROWER:
            yield _said(arrow)


def through(house: House) -> Iterator[str]:
    """Below the product, a name is imported from the module that defines it."""
    for arrow in house.arrows:
        if arrow.through and _top(arrow.source) < 2 and not house.modules[arrow.source].is_package:
            yield f"{arrow.source} takes a name of {arrow.target} from {arrow.through}"


def libraries(house: House) -> Iterator[str]:
    """torch from the loaders on; fsspec where URLs are opened."""
    for arrow in house.arrows:
        remote = arrow.source.startswith("latentstore.loaders.remote.")
        if (arrow.target == "torch" and _top(arrow.source) < 1) or (arrow.target == "fsspec" and not remote):
            yield _said(arrow)


def modalities(house: House) -> Iterator[str]:
    """Only the rooms of a modality compare modes."""
    for module in house.modules.values():
        if module.file.startswith(MODALITY_HOMES):
            continue
        for node in ast.walk(module.tree):
            name = _name(node)
            if name in ("is_audio", "is_image"):
                yield f"{module.file} has {name}"
            elif _compares_mode(node) and not module.file.startswith(PILLOW):
                yield f"{module.file} compares a mode"


def folders(house: House) -> Iterator[str]:
    """No folder of more files than a reader takes in."""
    count = Counter(PurePosixPath(file).parent.as_posix() for file in house.files())
    for folder, files in count.items():
        if files > MOST_FILES:
            yield f"{folder} holds {files} files"


RULES: Sequence[Callable[[House], Iterator[str]]] = (
    tops, rooms, circular, reference, through, libraries, modalities, folders,
)  # fmt: skip


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(house: House, rule: Callable[[House], Iterator[str]]) -> None:
    assert sorted(set(rule(house))) == [], rule.__doc__


def _top(name: str) -> int:
    return next(i for i, top in enumerate(TOP) if name == top or name.startswith(top + "."))


def _room(name: str, package: str) -> str:
    """The room of a module: the part of its name after the package's; "" of what is outside it, or its `__init__`."""
    if not name.startswith(package + ".") or (package == TOP[-1] and _top(name) < 2):
        return ""
    room = name.removeprefix(package + ".").split(".")[0]
    return "" if room == "_kernel" else room


def _said(arrow: Arrow) -> str:
    return f"{arrow.source} imports {arrow.target}"


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def _compares_mode(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        values = {leaf.value for side in sides for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)}
        return any(_name(side) == "mode" for side in sides) and bool(values & MODES)
    return isinstance(node, ast.Match) and _name(node.subject) == "mode"


# Every rule finds what it forbids, in a house made for it.


@pytest.mark.parametrize(
    ("rule", "files", "expected"),
    [
        (tops, {"codecs/a.py": "from latentstore.loaders.b import c"}, 1),
        (tops, {"loaders/a.py": "def f():\n from latentstore import __version__"}, 1),
        (tops, {"codecs/a.py": "if TYPE_CHECKING:\n import latentstore.demo.x"}, 1),
        (tops, {"loaders/a.py": "import latentstore.codecs.x\nfrom . import b"}, 0),
        (rooms, {"codecs/bitstream/a.py": "from latentstore.codecs.entropy import b"}, 1),
        (rooms, {"codecs/image/a.py": "from latentstore.codecs.audio import b"}, 1),
        (rooms, {"codecs/new/a.py": "from latentstore.codecs.errors import b"}, 1),
        (rooms, {"codecs/entropy/a.py": "from latentstore.codecs.bitstream import b"}, 0),
        (rooms, {"latentstore/sources/a.py": "from latentstore.conversion.api import b"}, 1),
        (circular, {"codecs/a.py": "import latentstore.codecs.b", "codecs/b.py": "def f():\n from . import a"}, 1),
        (
            circular,
            {
                "codecs/a.py": "from latentstore.codecs import b",
                "codecs/b.py": "import latentstore.codecs.c",
                "codecs/c.py": "from latentstore.codecs import name",
                "codecs/__init__.py": "_HOME = {'name': 'a'}",
            },
            1,
        ),
        (circular, {"codecs/a.py": "from . import b", "codecs/b.py": "if TYPE_CHECKING:\n from . import a"}, 0),
        (reference, {"codecs/reference/a.py": "from latentstore.codecs.errors import b"}, 1),
        (reference, {"codecs/fit/a.py": "import_module('latentstore.codecs.reference.b')"}, 1),
        (reference, {"codecs/native.py": "import_module('latentstore.codecs.reference.b')"}, 0),
        (through, {"codecs/x/__init__.py": "from latentstore.codecs.x.y import z", "codecs/x/y.py": "", "loaders/a.py": "from latentstore.codecs.x import z"}, 1),  # noqa: E501
        (libraries, {"codecs/a.py": "def f():\n import torch.nn", "loaders/a.py": "import torch"}, 1),
        (libraries, {"latentstore/a.py": "from fsspec.core import b", "loaders/remote/a.py": "import fsspec"}, 1),
        (modalities, {"loaders/a.py": "codec.mode == 'RGB'"}, 1),
        (modalities, {"loaders/a.py": "facts['mode'] in ('RGB', 'L')"}, 1),
        (modalities, {"loaders/a.py": "def is_audio(): ..."}, 1),
        (modalities, {"codecs/image/a.py": "mode == 'RGB'", "loaders/a.py": "order.mode == 'full'"}, 0),
        (folders, {f"docs/{i}.md": "" for i in range(15)}, 1),
        (folders, {f"docs/{i}.md": "" for i in range(14)} | {"docs/__pycache__/x.py": ""}, 0),
    ],
)  # fmt: skip
def test_a_rule_finds_what_it_forbids(
    rule: Callable[[House], Iterator[str]], files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert len(set(rule(House(tmp_path)))) == expected


def test_all_modules_are_read(house: House) -> None:
    assert {"latentstore", "latentstore.codecs", "latentstore.cli.main", REFERENCE, BORROWER} <= house.modules.keys()
    assert all(isinstance(module, Module) for module in house.modules.values())
    assert Arrow(BORROWER, f"{REFERENCE}.stand_in", False) in house.arrows
