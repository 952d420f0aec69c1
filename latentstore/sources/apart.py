"""What lies in a folder and is no part of the data set: text beside the signals, stores of latents, tables of labels.

It is told by its name alone, so that nothing is read for it; stores are known by their manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from latentstore.codecs.errors import StoreError
from latentstore.loaders.manifest import PARTIAL
from latentstore.loaders.remote.location import Location
from latentstore.loaders.tensors import layout as tensors
from latentstore.loaders.webdataset.layout import MANIFEST
from latentstore.loaders.zarr.layout import ROOT

__all__ = ["Apart"]

STORE = "file of a latentstore store"
# Extensions of text: captions, labels and annotations of other tools, descriptions.
# fmt: off
TEXTS = {
    "txt", "text", "md", "rst", "tex", "bib", "csv", "tsv", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml",
    "ini", "cfg", "log", "html", "htm", "css", "js", "py", "sh", "lst", "list", "names", "lab", "lbl", "caption", "srt",
    "vtt", "lrc", "textgrid", "eaf", "trn", "trans", "phn", "wrd", "stm", "ctm", "rttm", "cue", "m3u", "m3u8", "sfv",
    "md5", "sha1", "sha256",
}
# fmt: on
# Texts that have no extension.
NAMES = {
    "license",
    "licence",
    "copying",
    "copyright",
    "readme",
    "notice",
    "authors",
    "contributors",
    "changelog",
    "citation",
    "md5sums",
    "sha1sums",
    "sha256sums",
    "checksums",
}  # fmt: skip
# Of a store that grows, beside its place: what settles its conversion.
JOB = "/job.json"


class Apart:
    """Knows what in a listing is no part of the data set.

    names: of all files, relative to `location`. own: names of files and folders that are apart, and what they are; ""
    is not counted, as the target of a conversion.
    """

    def __init__(self, location: Location, names: Iterable[str], own: Mapping[str, str]) -> None:
        folders = dict(own)
        for name in names:
            if name.endswith((ROOT, MANIFEST, tensors.MANIFEST, JOB)):
                folder = name.rpartition("/")[0]
                if folder and folders.get(folder) != "" and _is_store(location, name):
                    folders[folder] = STORE
        self._own, self._inside = folders, tuple(f"{name}/" for name in folders)

    def kind(self, name: str) -> str | None:
        """What a file is that is no part of the data set; None of a part of it; "" of what is not to be counted."""
        if name in self._own:
            return self._own[name]
        if self._inside and name.startswith(self._inside):
            return next(kind for folder, kind in self._own.items() if name.startswith(f"{folder}/"))
        last = name.rpartition("/")[2].lower()
        stem, dot, extension = last.rpartition(".")
        if dot and extension in TEXTS:
            return f"text beside the data (.{extension})"
        return "text beside the data" if (stem or last) in NAMES and not dot else None


def _is_store(location: Location, name: str) -> bool:
    """Whether a file is the manifest of a store, or settles a conversion to one."""
    folder, _, last = name.rpartition("/")
    if last in (MANIFEST, tensors.MANIFEST):
        return True
    if f"/{last}" == JOB:
        return folder.endswith(PARTIAL)
    try:
        return last == ROOT and b'"latentstore"' in location.read(name)
    except StoreError:
        return False
