"""Fits a codec to a folder of images or recordings.

The shipped artifacts are made by this. The same files and options give the same bytes, on machines whose processors
add up alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from latentstore.codecs.artifact.file import is_name
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.load import SUFFIX, codec_from_bytes
from latentstore.fit import audio, images
from latentstore.fit.audio import AUDIO_SHAPES, AudioShape
from latentstore.fit.images import IMAGE_SHAPES, ImageShape
from latentstore.loaders.remote.location import Location
from latentstore.progress import printable
from latentstore.sources.folder import list_folder

__all__ = ["SHAPES", "fit", "fit_file", "require_fitting", "single_threaded"]

Shape = ImageShape | AudioShape

SHAPES: dict[str, Shape] = {**IMAGE_SHAPES, **AUDIO_SHAPES}
"""What a codec can be like, by the names of the shipped codecs."""


@dataclass(frozen=True)
class _Fit:
    """One modality's part. read(data, shape): a file to a signal. fit: see `fit_images` and `fit_audio`."""

    read: Callable[[Any, Any], Any]
    fit: Callable[..., bytes]


_FITS: Mapping[str, _Fit] = {
    "image": _Fit(images.read, images.fit_images),
    "audio": _Fit(audio.read, audio.fit_audio),
}


def fit(
    folder: str | Path,
    name: str,
    shape: Shape,
    *,
    licence: str = "not stated",
    rounds: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> bytes:
    """The bytes of an artifact fitted on every file of a folder and its subfolders, in order of their paths.

    name: of the codec: lower-case letters, digits, '.', '_' and '-', at most 64. shape: a value of SHAPES; its modality
    says whether images or recordings are read. licence: a text for the artifact. rounds: how often the latents are
    optimised for the entropy models and the models fitted to the latents, 0 or more. say: called with every line of
    progress, and with one line for each file that cannot be read.

    ArgumentError if the folder holds nothing to fit on, an argument cannot be meant, or SciPy is not installed.
    """
    if not is_name(name):
        raise ArgumentError(f"The name {name!r} is not lower-case letters, digits, '.', '_' and '-', at most 64.")
    if rounds < 0:
        raise ArgumentError(f"rounds is {rounds}; it is 0 or more.")
    require_fitting()
    with single_threaded():
        signals = _read_folder(Path(folder), shape, say)
        return _FITS[shape.modality.name].fit(signals, name, shape, licence, rounds, say)


def require_fitting() -> None:
    """ArgumentError if a package that fitting needs is not installed."""
    for needed in ("scipy", "threadpoolctl"):
        if find_spec(needed) is None:
            raise ArgumentError(f"Fitting needs {needed}, which is not installed: pip install 'latentstore[train]'.")


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread adds up in one order, however many cores there are; and products this small gain nothing by more."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


def fit_file(
    folder: str | Path,
    out: str | Path,
    name: str,
    like: str = "rgb-f8c48",
    licence: str = "not stated",
    rounds: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> Codec:
    """Fits a codec and writes its artifact to the file `out`; returns the codec. like: a name in SHAPES.

    Everything about the file is checked before the fit, and a fit that fails leaves no file. ArgumentError.
    """
    target = Path(out)
    if like not in SHAPES:
        raise ArgumentError(f"like is {like!r}; it is one of {', '.join(sorted(SHAPES))}.")
    if target.suffix != SUFFIX or target.is_dir():
        raise ArgumentError(f"The file {out} must have a name in {SUFFIX}, and be no folder: codecs are loaded by it.")
    if not target.parent.is_dir():
        raise ArgumentError(f"{target.parent} is not a folder: make it first, the artifact is written there.")
    content = fit(folder, name, SHAPES[like], licence=licence, rounds=rounds, say=say)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(content)
    partial.replace(target)
    return codec_from_bytes(content, str(out))


def _read_folder(folder: Path, shape: Shape, say: Callable[[str], None]) -> list[Any]:
    """The signals of all files below the folder; what is no part of a data set is counted, and bad files are named."""
    if not folder.is_dir():
        raise ArgumentError(f"{folder} is not a folder: give the folder of the files to fit on.")
    signals = []
    items, _, passed = list_folder(Location(folder))
    for kind, count in sorted(passed.items()):
        say(f"passed over: {count:,} {kind}")
    for item in items:
        try:
            signals.append(_FITS[shape.modality.name].read(item.read(), shape))
        except SignalError as error:
            say(f"left out: {printable(item.path)}: {error}")
    if not signals:
        raise ArgumentError(f"{folder} holds no {shape.modality.nouns.one} to fit on.")
    return signals
