"""What is to be converted, and how, as a user asks for it; and the plan that comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.modality import AUDIO, IMAGE
from latentstore.conversion.plan import Plan, make_plan
from latentstore.loaders.artifacts import load_codec
from latentstore.progress import Progress
from latentstore.sources import open_source
from latentstore.sources.labels import Labels
from latentstore.sources.signals.asked import Asked
from latentstore.sources.signals.choice import choose_codec

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["Request", "members_of"]


@dataclass(frozen=True)
class Request:
    """A source, and what becomes of it.

    codec: None where the source decides. members: extension of the members of tars that are signals, by modality.
    raise_errors: an entry that cannot be read ends the conversion. without: paths of what is no part of the source.
    storage_options: for fsspec.
    """

    source: str
    labels: Labels
    asked: Asked
    codec: Codec | None
    members: Mapping[str, str | None]
    raise_errors: bool
    without: Sequence[str]
    storage_options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """ArgumentError where it cannot be meant, before the source is listed, which may take long."""
        if self.codec is not None:
            self.asked.settings(self.codec, self.raise_errors)
            self._member(self.codec)

    def plan(
        self, shown: Progress, stored: Collection[str] = (), classes_before: Sequence[str] | None = None
    ) -> tuple[Plan, str]:
        """(the plan of all entries of the source, why it has its codec or ""). stored, classes_before: see
        `make_plan`."""
        shown.begin(f"listing {self.source}")
        options, rate = self.storage_options, self.asked.rate
        listed, codec, why = None, self.codec, ""
        if codec is None:
            choice = choose_codec(self.source, self.labels, options, rate, self.members, self.without)
            codec, listed, why = load_codec(choice.codec), choice.listed, choice.why
            shown.note(why)
        settings, member = self.asked.settings(codec, self.raise_errors), self._member(codec)
        if listed is None:
            listed = open_source(self.source, self.labels, options, codec.modality, rate, member, self.without)
        return make_plan(listed, self.labels, member, codec, settings, stored, classes_before), why

    def _member(self, codec: Codec) -> str | None:
        """The extension of the members of tars that are signals."""
        for name, value in self.members.items():
            if value is not None and name != codec.modality.name:
                raise ArgumentError(
                    f"{name}_member is given, and {codec.name} is a codec of {codec.modality.nouns.many}: use "
                    f"{codec.modality.name}_member"
                )
        return self.members[codec.modality.name]


def members_of(image: str | None, audio: str | None) -> dict[str, str | None]:
    """`Request.members`, from what a user gives: extensions with or without their dot."""
    given = {IMAGE.name: image, AUDIO.name: audio}
    return {name: None if said is None else said.removeprefix(".").lower() for name, said in given.items()}
