"""What makes every sample of a store of latents stale at once: another codec, other options, other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentstore.codecs.modality import Modality
from latentstore.conversion.plan import Plan
from latentstore.loaders.dataset import LatentDataset
from latentstore.sources import BadItem
from latentstore.sources.signals.front_ends import front_end_of
from latentstore.sources.tars.item import TarItem
from latentstore.writing.spec import settings_of

__all__ = ["made_anew", "made_of"]

_KINDS = {int: "int", float: "float", str: "str", bytes: "bytes"}


def made_of(settings: Mapping[str, Any], modality: Modality) -> dict[str, Any]:
    """What decides the samples of a store beside the source, of `StoreSpec.settings`, by names for people.

    The versions of the libraries that decode a source are not among it: a new one makes no sample stale.
    """
    facts = settings.get("conversion") or {}
    try:
        asked = front_end_of(modality).asked(facts)
    except KeyError:  # of another modality
        asked = {}
    own = {"codec": settings.get("artifact_sha256"), "quality": settings.get("quality")}
    return {**own, "effort": facts.get("effort"), **asked}


def made_anew(base: LatentDataset, plan: Plan) -> str | None:
    """Why all samples are encoded again, in words; None if they are not."""
    modality = plan.settings.modality
    was, now = made_of(settings_of(base.info), modality), made_of(plan.spec.settings(), modality)
    if was["codec"] != now["codec"]:
        return f"the store is of the codec {base.codec.name}, and {plan.spec.codec} is asked for"
    differing = [f"{name} was {was.get(name)}, and is {now.get(name)}" for name in now if was.get(name) != now[name]]
    return "; ".join(differing) or _other_fields(base, plan)


def _other_fields(base: LatentDataset, plan: Plan) -> str | None:
    """How the fields that the listing gives differ from those of the store. Those of tars are known when they are
    read."""
    item = next((item for item in plan.items if not isinstance(item, BadItem)), None)
    if item is None or isinstance(item.origin()[0], TarItem):
        return None
    own = {*base.modality.fields, *({"samples"} if plan.settings.window is not None else ())}
    was = {name: kind for name, kind in base.kinds.items() if name not in own}
    now = {name: _KINDS[type(value)] for name, value in item.fields.items() if name not in own}
    for name in sorted({*was, *now}):
        if (was.get(name), now.get(name)) == ("float", "int") or was.get(name) == now.get(name):
            continue
        return f"the field {name!r} was {was.get(name, 'not there')}, and is {now.get(name, 'not there')}"
    return None
