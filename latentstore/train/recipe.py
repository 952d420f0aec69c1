"""Recipes: what a training is told, in one TOML file (docs/learned/training.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.artifact.file import is_name
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.load import SUFFIX
from latentstore.loaders.artifacts import FOREIGN

__all__ = ["Folder", "Recipe", "is_checkpoint", "read_recipe"]

MAX_RECIPE_BYTES = 1 << 20
STAGES = ("decoder", "joint")
CHECKPOINT_SUFFIX = ".pth"
OF_DECODERS = ("stage", "start", "codec", "name", "width", "blocks", "head", "prefixes", "qualities", "recordings")


@dataclass(frozen=True)
class Folder:
    """Images or recordings to train on. reduce: images are resized to this share of their width and height, more than 0
    to 1."""

    folder: Path
    reduce: float


@dataclass(frozen=True)
class Recipe:
    """A recipe, read and checked; docs/learned/training.md says what each key means. Paths are absolute."""

    images: tuple[Folder, ...]
    recordings: tuple[Folder, ...]
    out: Path
    codec: Path | None
    work: Path
    artifact: str
    stage: str
    start: str | None
    name: str
    licence: str
    watch: Path | None
    minutes: float | None
    steps: int | None
    seed: int
    batch: int
    side: int | None
    rate: float
    width: int
    blocks: int
    head: int
    prefixes: Mapping[int, float]
    qualities: Mapping[int, float]
    save_minutes: float
    threads: int
    device: str
    precision: str


def is_checkpoint(artifact: str) -> bool:
    """Whether an artifact is a checkpoint of another package, "walloc:PATH" or "livecodec:PATH"."""
    return artifact.partition(":")[0] in FOREIGN


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a TOML file. Relative paths in it are taken from its folder.

    ArgumentError says which key cannot be meant, and what is expected.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_RECIPE_BYTES + 1)
    except OSError as error:
        raise ArgumentError(f"The recipe {path} cannot be read: {error.strerror or error}.") from error
    if len(content) > MAX_RECIPE_BYTES:
        raise ArgumentError(f"{path} is no recipe: it has more than {MAX_RECIPE_BYTES} bytes.")
    try:
        given = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ArgumentError(f"The recipe {path} is not TOML: {error}.") from error
    return _Reader(file.absolute(), given).recipe()


class _Reader:
    """Takes the keys of one recipe, and names what is wrong."""

    def __init__(self, file: Path, given: dict[str, Any]) -> None:
        self.file, self.given = file, given

    def recipe(self) -> Recipe:
        known = [field.name for field in fields(Recipe)]
        for key in self.given:
            if key not in known:
                near = get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"a recipe may have {', '.join(known)}."
                raise ArgumentError(f"The recipe {self.file} has an unknown key {key!r}: {hint}")
        if ("minutes" in self.given) == ("steps" in self.given):
            raise ArgumentError(f"The recipe {self.file} must have one of minutes and steps, which end the training.")
        if ("images" in self.given) == ("recordings" in self.given):
            raise ArgumentError(f"The recipe {self.file} must list folders of images or of recordings: one of the two.")
        for key in ("head", "start"):
            if "recordings" in self.given and key in self.given:
                raise self._wrong(key, "a key of images only")
        artifact = self._beside(self._text("artifact", "rgb-f8c48"))
        suffix = CHECKPOINT_SUFFIX if is_checkpoint(artifact) else SUFFIX
        out = self._path("out", None)
        if out is None or out.suffix != suffix:
            raise self._wrong("out", f"the name of a file that ends in {suffix}")
        if is_checkpoint(artifact):
            for key in OF_DECODERS:
                if key in self.given:
                    raise self._wrong(key, f"no key for the checkpoint {artifact}, which has its own networks")
        stage, codec = self._one_of("stage", STAGES), self._path("codec", None)
        if stage == "joint" and (codec is None or codec.suffix != SUFFIX or not is_name(codec.stem)):
            raise self._wrong(
                "codec",
                f"the file of the new codec: its name in lower-case letters, digits, '.', '_' and '-', and {SUFFIX}",
            )
        if stage != "joint" and codec is not None:
            raise self._wrong("codec", 'a key of stage = "joint" only')
        written = {"out": out, "codec": codec}
        for key, place in written.items():
            if place is not None and (str(place) == artifact.partition(":")[2] or str(place) == artifact):
                raise self._wrong(key, "another file than the artifact, which the training begins with")
        if codec == out:
            raise self._wrong("codec", "another file than out, where the decoder is written")
        name = self._text("name", "small")
        if not is_name(name) or name == "linear":
            raise self._wrong("name", "lower-case letters, digits, '.', '_' and '-', and not 'linear'")
        work = self._path("work", f"{self.file.stem}-run")
        assert work is not None
        return Recipe(
            images=self._folders("images", ("folder", "reduce")),
            recordings=self._folders("recordings", ("folder",)),
            out=out,
            codec=codec,
            work=work,
            artifact=artifact,
            stage=stage,
            start=self._beside(self._text("start", "")) if "start" in self.given else None,
            name=name,
            licence=self._text("licence", "not stated"),
            watch=self._path("watch", None),
            minutes=self._number("minutes", None, 0, 1e6),
            steps=None if "steps" not in self.given else self._whole("steps", 0, 1, 1 << 40),
            seed=self._whole("seed", 0, 0, (1 << 63) - 1),
            batch=self._whole("batch", 8, 1, 4096),
            side=self._whole("side", 0, 4, 1024) or None,
            rate=self._number("rate", 0.008, 0, 1) or 0.0,
            width=self._whole("width", 64, 1, 512),
            blocks=self._whole("blocks", 4, 0, 32),
            head=self._whole("head", 96, 1, 512),
            prefixes=self._shares("prefixes", 1024),
            qualities=self._shares("qualities", 100),
            save_minutes=self._number("save_minutes", 5, 0, 1e6) or 0.0,
            threads=self._whole("threads", 1, 1, 1024),
            device=self._one_of("device", ("cpu", "cuda")),
            precision=self._one_of("precision", ("float32", "bfloat16")),
        )

    def _beside(self, name: str) -> str:
        """The name of something shipped, a URL, or the path of a file that is sought beside the recipe."""
        if is_checkpoint(name) and "://" not in name:
            package, _, path = name.partition(":")
            return f"{package}:{self.file.parent / path}"
        return str(self.file.parent / name) if name.endswith(SUFFIX) and "://" not in name else name

    def _wrong(self, key: str, expected: str) -> ArgumentError:
        shown = repr(self.given[key])[:100] if key in self.given else "missing"
        return ArgumentError(f"In the recipe {self.file}, {key} is {shown}; it is {expected}.")

    def _take(self, key: str, default: Any, right: Callable[[Any], bool], expected: str) -> Any:
        value = self.given.get(key, default)
        if key in self.given and not right(value):
            raise self._wrong(key, expected)
        return value

    def _text(self, key: str, default: str) -> str:
        return str(self._take(key, default, lambda v: isinstance(v, str) and v != "", "a text"))

    def _path(self, key: str, default: str | None) -> Path | None:
        value = self._take(key, default, lambda v: isinstance(v, str) and v != "" and "\0" not in v, "a path")
        return None if value is None else self.file.parent / value

    def _whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self._take(
            key,
            default,
            lambda v: whole_number(v) is not None and low <= v <= high,
            f"a whole number from {low} to {high}",
        )
        return int(value)

    def _number(self, key: str, default: float | None, above: float, high: float) -> float | None:
        value = self._take(
            key, default, lambda v: _is_number(v) and above < v <= high, f"a number above {above:g}, at most {high:g}"
        )
        return None if value is None else float(value)

    def _one_of(self, key: str, values: tuple[str, ...]) -> str:
        return str(self._take(key, values[0], lambda v: v in values, " or ".join(map(repr, values))))

    def _folders(self, key: str, keys: tuple[str, ...]) -> tuple[Folder, ...]:
        """() where the key is not given. keys: that each table may have."""
        if key not in self.given:
            return ()
        resized = ", and reduce if they are to be resized, above 0 to 1" if "reduce" in keys else ""
        listed, expected = self.given[key], f"a list of tables with folder{resized}"
        if not isinstance(listed, list) or not listed:
            raise self._wrong(key, expected)
        found = []
        for one in listed:
            if not isinstance(one, dict) or not isinstance(one.get("folder"), str) or set(one) - set(keys):
                raise self._wrong(key, expected)
            reduce = one.get("reduce", 1.0)
            if not _is_number(reduce) or not 0 < reduce <= 1:
                raise self._wrong(key, expected)
            found.append(Folder(self.file.parent / one["folder"], float(reduce)))
        return tuple(found)

    def _shares(self, key: str, high: int) -> dict[int, float]:
        """How often each number is drawn, in the order of the file; {} leaves it to the codec."""
        expected = f"a table of numbers from 1 to {high} and how often each is drawn, as in {{12 = 2, 48 = 1}}"
        given = self.given.get(key, {})
        if not isinstance(given, dict):
            raise self._wrong(key, expected)
        shares = {}
        for text, share in given.items():
            if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= high or not _is_number(share):
                raise self._wrong(key, expected)
            if not 0 < share <= 1e6:
                raise self._wrong(key, expected)
            shares[int(text)] = float(share)
        return shares


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
