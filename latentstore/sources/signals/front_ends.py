"""Which front end belongs to which modality."""

from __future__ import annotations

from functools import cache

from latentstore.codecs.modality import Modality
from latentstore.sources.signals.base import FrontEnd

__all__ = ["front_end_of"]


def front_end_of(modality: Modality) -> FrontEnd:
    """The front end of a modality."""
    return _FRONT_ENDS[modality.name]()


# Imported when they are needed: the libraries that read one modality are not waited for where the other is converted.
@cache
def _images() -> FrontEnd:
    from latentstore.sources.signals.images import ImageFrontEnd

    return ImageFrontEnd()


@cache
def _audio() -> FrontEnd:
    from latentstore.sources.signals.audio import AudioFrontEnd

    return AudioFrontEnd()


_FRONT_ENDS = {"image": _images, "audio": _audio}
