"""Which front end belongs to which modality."""

from __future__ import annotations

from latentstore.codecs.modality import Modality
from latentstore.sources.signals.audio import AudioFrontEnd
from latentstore.sources.signals.base import FrontEnd
from latentstore.sources.signals.images import ImageFrontEnd

__all__ = ["front_end_of"]

_FRONT_ENDS: dict[str, FrontEnd] = {"image": ImageFrontEnd(), "audio": AudioFrontEnd()}


def front_end_of(modality: Modality) -> FrontEnd:
    """The front end of a modality."""
    return _FRONT_ENDS[modality.name]
