"""``fields.jsonl`` beside exported files: labels and all that is no signal and no tensor, a sample a line."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from latentstore.loaders.sharded import python_value

__all__ = ["FIELDS", "row_of"]

FIELDS = "fields.jsonl"


def row_of(key: str, values: Mapping[str, Any]) -> str:
    """The line of a sample: JSON, which `import_tensors` reads.

    Bytes are written as {"base64": text}, and NaN and infinities as {"float": text}, since JSON has neither.
    """
    made = {name: _json(python_value(value)) for name, value in values.items()}
    return json.dumps({"key": key, **made}, ensure_ascii=False) + "\n"


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value
