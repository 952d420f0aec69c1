"""Chooses a codec by what a source holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from latentstore.codecs.errors import ArgumentError, SignalError
from latentstore.codecs.load import load_codec, shipped
from latentstore.codecs.modality import AUDIO, IMAGE, MODALITIES, Modality
from latentstore.loaders.remote.location import Location
from latentstore.progress import counted
from latentstore.sources import Source, open_source
from latentstore.sources.item import AUDIO_EXTENSIONS, IMAGE_EXTENSIONS, BadItem, Item
from latentstore.sources.labels import Labels
from latentstore.sources.places import find_tars, is_zarr
from latentstore.sources.signals.contents import content_of, head_of
from latentstore.sources.zarr_array import IMAGES, WAVEFORMS, ArrayItem, fitting, list_array

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.sources.audio.files import AudioLength

__all__ = ["Choice", "choose_codec"]

IMAGE_CODEC = "rgb-f8c48"
# So many entries are looked into, evenly spread; of the others the extension says what they are.
LOOKED_AT = 256
HEADERS = 16
# Of tars, the first ones, until one holds a sample.
TARS = 8
AT_A_TIME = 16
_EXTENSIONS = {"image": IMAGE_EXTENSIONS, "audio": AUDIO_EXTENSIONS}


@dataclass(frozen=True)
class Choice:
    """codec: its name. why: a sentence. listed: the source, where it had to be listed."""

    codec: str
    why: str
    listed: Source | None = None


def choose_codec(
    url: str | os.PathLike[str],
    labels: Labels,
    storage_options: dict[str, Any],
    rate: int | None = None,
    members: Mapping[str, str | None] | None = None,
    without: Sequence[str] = (),
) -> Choice:
    """The shipped codec for what the source holds: images, or recordings of some channels and rate.

    Arguments as of `open_source`; members: the extension of the members of tars that are signals, by modality.
    ArgumentError where it holds both images and recordings, neither of them, or recordings that no shipped codec takes.
    Errors of `open_source` as well.
    """
    text = os.fspath(url)
    if (tars := find_tars(url, storage_options, (), dict.fromkeys(without, ""))) is not None:
        return _of_tars(text, tars.at, storage_options, members or {})
    if is_zarr(location := Location(text, storage_options)):
        if fitting(location, (IMAGES, WAVEFORMS)) is IMAGES:
            return Choice(IMAGE_CODEC, f"the codec is {IMAGE_CODEC}: the source is an array of images")
        items, _ = list_array(location, WAVEFORMS, rate)
        return _audio(items, "the source is an array of waveforms")
    listed = open_source(url, labels, storage_options, IMAGE, rate, None, without)
    counts = _survey(listed.items)
    return _decided(listed, counts, listed.items, wrong=[item for item in listed.items if _bad(item)])


def _of_tars(
    text: str, tars: Sequence[tuple[Location, str]], options: dict[str, Any], members: Mapping[str, str | None]
) -> Choice:
    """By the first tar with a sample: the headers of all are read later."""
    found: dict[Modality, list[Item]] = {}
    wrong: list[Item] = []
    for location, name in tars[:TARS]:
        listed = {
            modality: list(open_source([location.at(name)], None, options, modality, member=members.get(modality.name)))
            for modality in MODALITIES
        }
        found = {modality: [item for item in items if not _bad(item)] for modality, items in listed.items()}
        if any(found.values()):
            break
        # a sample without an image has another reason than the same one without a recording
        wrong += [one for one, *more in zip(*listed.values(), strict=True) if _bad(one) and more == [one]]
    counts = Counter({modality.name: len(items) for modality, items in found.items()})
    return _decided(None, counts, found[AUDIO], text, wrong)


def _decided(
    listed: Source | None, counts: Counter[str], items: Sequence[Item], url: str = "", wrong: Sequence[Item] = ()
) -> Choice:
    """wrong: entries that cannot be read, whatever they are."""
    url = url if listed is None else listed.url
    said = " and ".join(counted(counts[m.name], m.nouns.one) for m in MODALITIES if counts[m.name])
    if counts[IMAGE.name] and counts[AUDIO.name]:
        raise ArgumentError(f"the source {url} holds {said}: say which of them are meant by a codec", option="codec")
    if not counts[IMAGE.name] and not counts[AUDIO.name]:
        if listed is not None and not listed.items:
            return Choice(IMAGE_CODEC, "", listed)  # whoever reads the source says that it is empty
        if reasons := [(item.path, item.reason) for item in wrong if isinstance(item, BadItem)]:
            raise ArgumentError(
                f"nothing in the source {url} says which codec fits, because its entries cannot be read; the first: "
                f"{reasons[0][0]}: {reasons[0][1]}"
            )
        raise ArgumentError(
            f"the source {url} holds neither images nor recordings of a known format, by the first bytes and the names "
            "of its files; if it does, give a codec, which decides what is tried (tensors of another encoder are "
            "imported, not converted)",
            option="codec",
        )
    if counts[IMAGE.name]:
        return Choice(IMAGE_CODEC, f"the codec is {IMAGE_CODEC}: the source holds {said}", listed)
    return _audio(items, f"the source holds {said}", listed)


def _bad(item: Item) -> bool:
    return isinstance(item, BadItem)


def _survey(items: Sequence[Item]) -> Counter[str]:
    """How many entries are of each modality."""
    looked = range(0, len(items), max(1, -(-len(items) // LOOKED_AT)))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        heads = dict(zip(looked, pool.map(lambda i: content_of(head_of(items[i])), looked), strict=True))
    counts: Counter[str] = Counter()
    for i, item in enumerate(items):
        known = heads.get(i)
        modality = known[0] if known else _by_name(item.path)
        if modality is not None:
            counts[modality.name] += 1
    return counts


def _by_name(path: str) -> Modality | None:
    extension = path.rpartition(".")[2].lower()
    return next((modality for modality in MODALITIES if extension in _EXTENSIONS[modality.name]), None)


def _audio(items: Sequence[Item], holds: str, listed: Source | None = None) -> Choice:
    """The codec of the most frequent number of channels among the first headers, and of the nearest rate."""
    step = max(1, len(items) // HEADERS)
    lengths = [length for item in items[::step][: 2 * HEADERS] if (length := _header(item)) is not None]
    if not lengths:
        raise ArgumentError(f"{holds}, and none of the first can be read: give a codec", option="codec")
    channels = Counter(length.channels for length in lengths).most_common(1)[0][0]
    rate = Counter(length.rate for length in lengths if length.channels == channels).most_common(1)[0][0]
    codecs = [cast("AudioCodec", codec) for name in shipped() if (codec := load_codec(name)).modality is AUDIO]
    taking = [codec for codec in codecs if codec.in_channels == channels]
    said = f"{holds}, most with {counted(channels, 'channel')} at {rate:,} hertz"
    if not taking:
        raise ArgumentError(f"{said}, which no shipped codec takes: mix them down, or give a codec", option="codec")
    best = min(taking, key=lambda codec: max(rate / codec.rate, codec.rate / rate))
    return Choice(best.name, f"the codec is {best.name}: {said}", listed)


def _header(item: Item) -> AudioLength | None:
    from latentstore.sources.audio.files import AudioLength, audio_length  # as in `front_ends`

    if isinstance(item, ArrayItem):
        assert item.source is not None
        samples, channels = item.source.length
        return AudioLength(samples, int(cast(int, item.fields["rate"])), channels)
    try:
        with item.opened() as file:
            return audio_length(file)
    except (SignalError, OSError):
        return None
