"""What differs between kinds of signal, said once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AUDIO", "IMAGE", "Modality", "modality_of"]


@dataclass(frozen=True)
class Modality:
    """One kind of signal. modes: the modes of its codecs."""

    name: str
    modes: tuple[str, ...]


IMAGE = Modality("image", ("RGB", "L"))
AUDIO = Modality("audio", ("audio",))


def modality_of(mode: str) -> Modality:
    """The modality of a codec's mode; KeyError if there is none."""
    return {mode: one for one in (IMAGE, AUDIO) for mode in one.modes}[mode]
