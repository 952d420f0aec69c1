"""What the manifest of a store with versions says of latents of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentstore.codecs.artifact.checks import short, whole

FIELD = "latent"
"""The name of the field that holds them."""
MOST_CHANNELS = 1024


@dataclass(frozen=True)
class Latents:
    """The field of a store that holds latents of one codec, at one quality.

    about: what the manifest says of them, a JSON object: what `docs/stores.md` lists for the manifests of the other
    layouts, but for what stands elsewhere in this one. `loaders.tensors.latent_reader` checks it.
    """

    about: Mapping[str, Any]

    @property
    def groups(self) -> int:
        """Blobs of a sample."""
        return int(self.about["channels"]) // int(self.about["group_channels"])

    @property
    def parts(self) -> list[str]:
        """The names of the groups, as parts of a sample."""
        return [f"{FIELD}/{group}" for group in range(self.groups)]

    def to_json(self) -> dict[str, Any]:
        """What the manifest says."""
        return dict(self.about)

    @classmethod
    def of_json(cls, value: Any) -> Latents:
        """What `to_json` gave. TypeError or ValueError if its channels cannot be."""
        channels, group = value["channels"], value["group_channels"]
        if not whole(channels, 1, MOST_CHANNELS) or not whole(group, 1, MOST_CHANNELS) or channels % group:
            raise ValueError(f"{short(channels)} channels in groups of {short(group)}")
        return cls(value)
