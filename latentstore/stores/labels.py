"""Whether labels are numbers of classes: checked before a store is published, and when it is verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentstore.progress import counted

__all__ = ["label_problem", "outside_classes"]

NO_CLASS = -1


def outside_classes(labels: Sequence[Any], classes: Sequence[str] | None) -> list[int]:
    """Positions of the labels that are neither the number of a class nor -1; none where there are no classes."""
    if classes is None:
        return []
    good = range(NO_CLASS, len(classes))
    return [i for i, label in enumerate(labels) if not (hasattr(label, "__index__") and int(label) in good)]


def label_problem(key: str, label: Any, classes: Sequence[str]) -> str:
    """The sentence for one of them."""
    return f"{key!r}: its label {label!r} is none of {counted(len(classes), 'class', 'classes')}, numbered from 0"
