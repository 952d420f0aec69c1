"""Keys as names of files: which none can have, and which some systems cannot.

A key becomes a file when a store is exported, or copied as a WebDataset to a disk: ``a/b`` is ``b.png`` in the folder
``a``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from latentstore.sources.item import BadItem, Item
from latentstore.sources.labels.classes import normal
from latentstore.sources.remarks import Remark, Told, tally

__all__ = ["check_keys", "key_problem"]

LONGEST_PART = 255
# Added on export; no modality's extension is longer.
EXTENSIONS = (".png", ".wav")
# A part of a key that needs no closer look, unless its name is reserved.
PLAIN = re.compile(r"[A-Za-z0-9_\-]{1,150}")
CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\]')
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
LONGEST_RESERVED = max(map(len, RESERVED))


def check_keys(items: Sequence[Item]) -> tuple[list[Item], tuple[Told, ...]]:
    """(the items, what the report tells of their keys). Those whose key can name no file cannot be read."""
    checked = list(items)
    said: list[tuple[str, Remark]] = []
    folders: dict[str, bool] = {}
    for i, item in enumerate(items):
        folder, slash, last = item.key.rpartition("/")
        plain = folders.get(folder)
        if plain is None:
            plain = folders[folder] = not slash or all(map(_is_plain, folder.split("/")))
        if (plain and _is_plain(last)) or isinstance(item, BadItem):
            continue
        if problem := key_problem(item.key):
            reason = f"its key {item.key!r} can name no file: {problem}; give it another name"
            checked[i] = BadItem(item.key, item.path, item.size_bytes, item.stamp, {}, reason)
        else:
            said += [(item.path, remark) for remark in _remarks(item.key)]
    return checked, tally([*said, *_alike(checked)])


def _is_plain(part: str) -> bool:
    return PLAIN.fullmatch(part) is not None and (len(part) > LONGEST_RESERVED or part.lower() not in RESERVED)


def key_problem(key: str) -> str:
    """Why a key can name no file; "" if it can."""
    if "\0" in key:
        return "it holds a NUL character"
    if not key:
        return "it is empty"
    if key.startswith("/"):
        return "it is absolute"
    parts = key.split("/")
    if "" in parts:
        return "a part of it is empty"
    odd = next((part for part in parts if part in (".", "..")), "")
    return f"{odd!r} is no name" if odd else ""


def _remarks(key: str) -> list[Remark]:
    found, parts = [], key.split("/")
    longest = max(len(part.encode("utf-8", "replace")) for part in (*parts[:-1], parts[-1] + EXTENSIONS[0]))
    if longest > LONGEST_PART:
        found.append(Remark("key-long", f"{longest} bytes"))
    if CONTROL.search(key):
        found.append(Remark("key-control"))
    if NOT_ON_WINDOWS.search(key) or any(map(_odd_on_windows, parts)):
        found.append(Remark("key-windows"))
    return found


def _odd_on_windows(part: str) -> bool:
    return part.endswith((" ", ".")) or part.partition(".")[0].rstrip().lower() in RESERVED


def _alike(items: Sequence[Item]) -> list[tuple[str, Remark]]:
    """Entries whose keys are another's on disks that ignore case or composition, or a folder of another's."""
    keys = [item.key for item in items if not isinstance(item, BadItem)]
    found: list[tuple[str, Remark]] = []
    if len({key.lower() if key.isascii() else normal(key).casefold() for key in keys}) < len(keys):
        first: dict[str, str] = {}
        for item in items:
            if not isinstance(item, BadItem):
                other = first.setdefault(normal(item.key).casefold(), item.key)
                if other != item.key:
                    found.append((item.path, Remark("key-case", f"like {other}")))
    folders = {
        "/".join(parts[:i])
        for key in keys if any(f"{extension}/" in key for extension in EXTENSIONS)
        for parts in [key.split("/")] for i in range(1, len(parts))
    }  # fmt: skip
    if folders:
        files = {f"{key}{extension}": key for key in keys for extension in EXTENSIONS}
        found += [(files[folder], Remark("key-folder", folder)) for folder in sorted(folders) if folder in files]
    return found
