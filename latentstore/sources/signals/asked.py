"""What a user asks for of every signal, before it is known of which modality they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentstore.codecs.arguments import Effort, require_effort, require_quality
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.signals.settings import Settings

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["Asked"]


@dataclass(frozen=True)
class Asked:
    """Options of `latentstore.convert`, which explains them; None is the default of each."""

    size: int | str | None = None
    color: str | None = None
    damaged: str | None = None
    seconds: float | None = None
    rate: int | None = None
    quality: int | None = None
    effort: Effort = "default"

    def settings(self, codec: Codec, raise_errors: bool) -> Settings:
        """What they mean for a codec. ArgumentError where one of them cannot be meant."""
        return front_end_of(codec.modality).settings(
            codec,
            quality=require_quality(self.quality, codec.default_quality),
            effort=require_effort(self.effort),
            raise_errors=raise_errors,
            size=self.size,
            color=self.color,
            damaged=self.damaged,
            seconds=self.seconds,
            rate=self.rate,
        )
