"""The file that an export of a store of tensors writes beside them: the fields that are no tensors, a line a sample."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError
from latentstore.importing.sample import MOST_BYTES, Value
from latentstore.loaders.remote.location import Location
from latentstore.stores.fields_file import FIELDS

__all__ = ["FIELDS", "read_fields"]


def read_fields(location: Location) -> dict[str, dict[str, Value]]:
    """The fields of each sample by its key. ArgumentError names the line that is none."""
    where = location.at(FIELDS)
    if location.size(FIELDS) > MOST_BYTES:
        raise ArgumentError(f"{where} has more than {MOST_BYTES} bytes, which are not read")
    found: dict[str, dict[str, Value]] = {}
    for number, line in enumerate(location.read(FIELDS).splitlines(), 1):
        try:
            values = json.loads(line)
            key = values.pop("key")
            if not isinstance(key, str):
                raise TypeError(f"the key {short(key)}")
            found[key] = {name: _value(value) for name, value in values.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise ArgumentError(f"{where}, line {number}: it is not the fields of a sample ({short(error)})") from error
    return found


def _value(value: Any) -> Value:
    if isinstance(value, bool | int | str | float):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Mapping) and list(value) == ["base64"]:
        return base64.b64decode(value["base64"], validate=True)
    if isinstance(value, Mapping) and list(value) == ["float"]:
        return float(value["float"])
    raise ValueError(f"{short(value)} is no number, text or bytes")
