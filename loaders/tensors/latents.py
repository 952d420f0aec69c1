"""Latents of this package in a store with versions: how a user declares them, and what the manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentstore.codecs.arguments import require_quality
from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import MAX_RATE_HZ, MODALITIES, Modality
from latentstore.loaders.tensors import layout

__all__ = ["FIELD", "LatentField", "Latents"]

FIELD = "latent"
"""The name of the field of a store that holds latents alone."""
MOST_CHANNELS = 1024
_MODALITIES = {modality.name: modality for modality in MODALITIES}


@dataclass(frozen=True)
class Latents:
    """A field of latents, for `latentstore.Writer`, which encodes the signals that it is given::

        fields = {"image": Latents(load_codec("rgb-f8c48"), quality=60), "text": Tensor("bfloat16")}

    codec: from `load_codec`. A codec by itself stands for `Latents(codec)`. quality: 1 to 100; None is the codec's
    default. ArgumentError: one of them is something else.
    """

    codec: Codec
    quality: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise ArgumentError(
                f"codec is {short(self.codec)}; it is a codec of this package, such as load_codec('rgb-f8c48')"
            )
        object.__setattr__(self, "quality", require_quality(self.quality, self.codec.default_quality))

    def parts(self, name: str) -> list[str]:
        """See `LatentField.parts`."""
        return _parts(name, self.codec.groups)

    def columns(self, name: str) -> dict[str, str]:
        """See `LatentField.columns`."""
        return _columns(name, self.codec.modality)

    def to_json(self) -> dict[str, Any]:
        """What all samples of a store must have the same."""
        return _asked(self.codec.name, self.codec.sha256, self.quality)


@dataclass(frozen=True)
class LatentField:
    """What a manifest says of a field of latents of one codec, at one quality.

    about: a JSON object: what `docs/stores.md` lists for the manifests of the other layouts, but for what stands
    elsewhere in this one. `loaders.tensors.latent_reader` checks it.
    """

    about: Mapping[str, Any]

    @property
    def is_alone(self) -> bool:
        """Whether the store holds these latents and no other field that is coded, as `latentstore.convert` makes it."""
        return "shard_samples" in self.about

    @property
    def modality(self) -> Modality:
        """What kind of signal the latents are of."""
        return _MODALITIES[self.about["modality"]]

    @property
    def groups(self) -> int:
        """Blobs of a sample."""
        return int(self.about["channels"]) // int(self.about["group_channels"])

    def parts(self, name: str) -> list[str]:
        """The names of the groups, as parts of a sample. name: of the field."""
        return _parts(name, self.groups)

    def groups_of(self, channels: int | None) -> int:
        """How many groups hold the first channels; None for all."""
        return self.groups if channels is None else -(-channels // int(self.about["group_channels"]))

    def columns(self, name: str) -> dict[str, str]:
        """The kinds of further columns that every shard must have, by name. name: of the field."""
        if self.is_alone:
            return {} if self.about.get("size") is not None else {layout.HEIGHT: "int", layout.WIDTH: "int"}
        return _columns(name, self.modality)

    def asked(self, sha256: str) -> dict[str, Any]:
        """What `Latents.to_json` says of such latents. sha256: of the artifact."""
        return _asked(self.about.get("codec"), sha256, self.about.get("quality"))

    def to_json(self) -> dict[str, Any]:
        """What the manifest says."""
        return dict(self.about)

    @classmethod
    def of_json(cls, value: Any) -> LatentField:
        """What `to_json` gave. KeyError, TypeError or ValueError if its channels or its modality cannot be."""
        channels, group = value["channels"], value["group_channels"]
        if not whole(channels, 1, MOST_CHANNELS) or not whole(group, 1, MOST_CHANNELS) or channels % group:
            raise ValueError(f"{short(channels)} channels in groups of {short(group)}")
        if value["modality"] not in _MODALITIES:
            raise ValueError(f"modality is {short(value['modality'])}")
        if not whole(value.get("rate", 1), 1, MAX_RATE_HZ):
            raise ValueError(f"rate is {short(value['rate'])}")
        return cls(value)


def _parts(name: str, groups: int) -> list[str]:
    return [f"{name}/{group}" for group in range(groups)]


def _columns(name: str, modality: Modality) -> dict[str, str]:
    return {layout.STEP + name: "int"} if "step" in modality.fields else {}


def _asked(codec: Any, sha256: str, quality: Any) -> dict[str, Any]:
    return {"codec": codec, "artifact_sha256": sha256, "quality": quality}
