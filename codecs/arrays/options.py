"""The options of the array codecs: checked once, the same in Zarr v3 and numcodecs metadata, and written in
full."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from latentstore.codecs.arguments import EFFORTS, require_quality
from latentstore.codecs.errors import ArgumentError, UnsupportedVersionError

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["LATENT", "SIGNAL", "LatentOptions", "SignalOptions", "codec_named"]

SIGNAL = "latentstore.signal"
LATENT = "latentstore.latent"
VERSION = 1
PARTIAL_WRITES = ("refuse", "allow")
HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class LatentOptions:
    """artifact: its name; sha256: its identity, in hexadecimal."""

    artifact: str
    sha256: str
    version: int = VERSION

    codec_name = LATENT

    def __post_init__(self) -> None:
        require_version(self.version, self.codec_name)
        if not isinstance(self.artifact, str) or not self.artifact:
            raise ArgumentError(f"codec {self.codec_name!r}: artifact name must be a string, not {self.artifact!r}")
        if not (isinstance(self.sha256, str) and len(self.sha256) == 64 and set(self.sha256) <= HEX):
            raise ArgumentError(f"codec {self.codec_name!r}: sha256 must be 64 hexadecimal digits, not {self.sha256!r}")

    @classmethod
    def from_json(cls, configuration: Any) -> Self:
        """From the object that `to_json` gives; ArgumentError or UnsupportedVersionError say what is
        wrong."""
        name = cls.codec_name
        if not isinstance(configuration, Mapping):
            raise ArgumentError(
                f"codec {name!r} needs a configuration with version and artifact; got {configuration!r}"
            )
        require_version(configuration.get("version"), name)
        expected = {"version", "artifact", *cls._own()}
        unknown, missing = sorted(set(configuration) - expected), sorted(expected - set(configuration))
        if unknown:
            raise ArgumentError(f"codec {name!r}: unknown configuration {', '.join(unknown)}")
        artifact = configuration.get("artifact")
        if not isinstance(artifact, Mapping) or set(artifact) != {"name", "sha256"}:
            raise ArgumentError(f"codec {name!r}: artifact must have a name and a sha256; got {artifact!r}")
        if missing:
            raise ArgumentError(f"codec {name!r}: its configuration lacks {', '.join(missing)}")
        own = {key: configuration[key] for key in cls._own()}
        return cls(artifact["name"], artifact["sha256"], version=VERSION, **own)

    def to_json(self) -> dict[str, Any]:
        """Every option, so that stored data never hangs on a default."""
        own = {key: getattr(self, key) for key in self._own()}
        return {"version": self.version, "artifact": {"name": self.artifact, "sha256": self.sha256}, **own}

    @classmethod
    def _own(cls) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class SignalOptions(LatentOptions):
    """How images in an array are coded.

    axes: a letter for each axis of the array: h (height) and w (width) once, c (channel) at most once, n for
    all others. quality: 1 to 100. effort: "default" or "fast", see `Codec.encode`. partial_writes: "refuse"
    raises where a write would decode and code anew an image that it covers in part; "allow" lets it, and
    each such write loses a little."""

    axes: str = ""
    quality: int = 0
    effort: str = "default"
    partial_writes: str = "refuse"

    codec_name = SIGNAL

    def __post_init__(self) -> None:
        super().__post_init__()
        axes = self.axes
        if not (
            isinstance(axes, str)
            and axes.count("h") == axes.count("w") == 1
            and axes.count("c") <= 1
            and not set(axes) - set("nhwc")
        ):
            raise ArgumentError(
                f"codec {SIGNAL!r}: axes must have a letter for each axis of the array, h and w once, c at "
                f'most once and n for all others, such as "nhwc"; got {axes!r}'
            )
        try:
            quality = operator.index(self.quality)  # a plain int: NumPy's are no JSON
        except TypeError as error:
            raise ArgumentError(f"codec {SIGNAL!r}: quality must be 1 to 100, not {self.quality!r}") from error
        object.__setattr__(self, "quality", require_quality(quality, quality))
        for key, known in (("effort", EFFORTS), ("partial_writes", PARTIAL_WRITES)):
            if getattr(self, key) not in known:
                raise ArgumentError(f"codec {SIGNAL!r}: {key} must be one of {known}, not {getattr(self, key)!r}")

    @classmethod
    def _own(cls) -> tuple[str, ...]:
        return ("axes", "quality", "effort", "partial_writes")

    @property
    def height(self) -> int:
        """Which axis is the height."""
        return self.axes.index("h")

    @property
    def width(self) -> int:
        return self.axes.index("w")

    @property
    def channel(self) -> int | None:
        return self.axes.index("c") if "c" in self.axes else None


def require_version(version: Any, name: str) -> None:
    if version != VERSION or isinstance(version, bool):
        raise UnsupportedVersionError(
            f"codec {name!r} version {version!r}; this latentstore reads version {VERSION}: pip install "
            f"--upgrade latentstore"
        )


def codec_named(codec: Codec | str) -> Codec:
    """`codec`, or the one of that name or path; this process finds it by its SHA-256 from now on."""
    from latentstore.codecs.load import load_codec, register

    if isinstance(codec, str):
        codec = load_codec(codec)
    return register(codec)
