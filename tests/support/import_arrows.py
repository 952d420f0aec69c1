"""The imports of a package as arrows between its modules, read from the text: nothing is run.

An arrow is counted wherever it stands, in a function too. `importlib.import_module("a.b")` is an import of `a.b`. A
name that a package's `__init__` gives away (by its own import, or by a table `_HOME` of names and modules) is an
import of the module that defines it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The folders at the top, and the import packages they are.
PACKAGES = {"codecs": "latentstore.codecs", "loaders": "latentstore.loaders", "latentstore": "latentstore"}


@dataclass(frozen=True, order=True)
class Arrow:
    """`source` imports `target`. typing: in a TYPE_CHECKING block, which no program runs. through: the package whose
    `__init__` gave the name away, or ""."""

    source: str
    target: str
    typing: bool
    through: str = ""


@dataclass(frozen=True)
class Module:
    """name: as it is imported. file: relative to the root, with slashes. tree: its parsed text."""

    name: str
    file: str
    tree: ast.Module
    is_package: bool


def read_modules(root: Path) -> dict[str, Module]:
    """All modules below the folders of PACKAGES, by name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join([package, *(parts[:-1] if is_package else parts)])
            file = path.relative_to(root).as_posix()
            found[name] = Module(name, file, ast.parse(path.read_text("utf-8"), file), is_package)
    return found


def read_arrows(modules: Mapping[str, Module]) -> set[Arrow]:
    """All imports of these modules: of one another, and of other packages by their top name (`torch`)."""
    homes = {name: _given_away(module) for name, module in modules.items() if module.is_package}
    found = set()
    for module in modules.values():
        for target, name, typing in _imports(module):
            home = _resolved(target, name, modules, homes)
            through = target if home not in (target, f"{target}.{name}") else ""
            if not home.startswith("latentstore"):
                home = home.split(".")[0]
            if home != module.name:
                found.add(Arrow(module.name, home, typing, through))
    return found


def circles(arrows: set[Arrow]) -> list[list[str]]:
    """Groups of modules that reach one another (Tarjan's strongly connected components), without typing arrows."""
    after: dict[str, list[str]] = {}
    for arrow in sorted(arrows):
        if not arrow.typing:
            after.setdefault(arrow.source, []).append(arrow.target)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for target in after.get(name, ()):
            if target not in number:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], number[target])
        if low[name] == number[name]:
            start = stack.index(name)
            group = stack[start:]
            del stack[start:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in after:
        if name not in number:
            visit(name)
    return sorted(found)


def _resolved(
    target: str, name: str | None, modules: Mapping[str, Module], homes: Mapping[str, Mapping[str, str]]
) -> str:
    """The module that `from target import name` is about."""
    if name is None:
        return target
    if f"{target}.{name}" in modules:
        return f"{target}.{name}"
    return homes.get(target, {}).get(name, target)


def _imports(module: Module) -> Iterator[tuple[str, str | None, bool]]:
    """(module, name or None, in a TYPE_CHECKING block) of every import."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node, typing in _nodes(module.tree, False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, typing
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            target = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield target, alias.name, typing
        elif isinstance(node, ast.Call) and _last_name(node.func) == "import_module" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, None, typing


def _nodes(node: ast.AST, typing: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _last_name(child.test) == "TYPE_CHECKING":
            for inner in child.body:
                yield inner, True
                yield from _nodes(inner, True)
            for inner in child.orelse:
                yield inner, typing
                yield from _nodes(inner, typing)
        else:
            yield child, typing
            yield from _nodes(child, typing)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _given_away(module: Module) -> dict[str, str]:
    """The names of a package that other modules define, and those modules."""
    found = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and [_last_name(t) for t in node.targets] == ["_HOME"]:
            table = ast.literal_eval(node.value)
            found |= {
                n: home if home.startswith("latentstore.") else f"{module.name}.{home}" for n, home in table.items()
            }
    return found
