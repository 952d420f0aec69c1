"""What an entry of a data set is called on the screen, by the mode of its codec."""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.codecs.errors import AudioError, ImageError, SignalError
from latentstore.codecs.modality import AUDIO, modality_of

__all__ = ["IMAGES", "Words", "words_of"]


@dataclass(frozen=True)
class Words:
    """one, many: entries. unit: what their size is counted in; a sample frame is one sample of all inputs. error: for
    one that cannot be read. weak: what comes back too weak where coefficients were limited."""

    one: str
    many: str
    unit: str
    error: type[SignalError]
    weak: str


IMAGES = Words("image", "images", "pixel", ImageError, "edges there")
RECORDINGS = Words("recording", "recordings", "sample frame", AudioError, "their loudest places")
WINDOWS = Words("window", "windows", "sample frame", AudioError, "their loudest places")


def words_of(mode: str, windows: bool = False) -> Words:
    """The words for a codec's mode; windows: recordings are cut into windows."""
    if modality_of(mode) is not AUDIO:
        return IMAGES
    return WINDOWS if windows else RECORDINGS
