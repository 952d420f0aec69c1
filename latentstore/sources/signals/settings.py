"""How a conversion treats every signal: settled once, before the first entry is read."""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.codecs.arguments import Effort
from latentstore.codecs.modality import Modality, Nouns, modality_of

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Options after their check, equal for every entry; small, and it pickles.

    mode: of the codec: "RGB", "L" or "audio". quality: 1 to 100. effort: "default" or "fast". raise_errors: an entry
    that cannot be read ends the conversion. size: images only, the side of the square in pixels; None keeps every
    image's size. color: images only, the colour space that colours are converted to; None keeps them as they are.
    damaged: images only, "skip" refuses damaged images, "keep" stores what their decoder makes of them.
    window: audio only, samples of a window; None keeps recordings whole. rate: audio only, in hertz; None keeps every
    recording's rate.
    """

    mode: str
    quality: int
    effort: Effort = "default"
    raise_errors: bool = False
    size: int | None = None
    color: str | None = None
    damaged: str = "skip"
    window: int | None = None
    rate: int | None = None

    @property
    def modality(self) -> Modality:
        return modality_of(self.mode)

    @property
    def nouns(self) -> Nouns:
        """What the entries are called."""
        return self.modality.nouns if self.window is None else self.modality.window_nouns

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of every signal; None where sizes differ."""
        if self.window is not None:
            return 1, self.window
        return None if self.size is None else (self.size, self.size)
