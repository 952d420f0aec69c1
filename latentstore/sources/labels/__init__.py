"""Labels: from a table, from the names of files, or from folders; and the names and numbers of classes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Labels"]


@dataclass(frozen=True)
class Labels:
    """Where labels come from.

    by: a table (CSV or .tsv) by path or URL, or a pattern of file names; None for the folders. key_column: the column
    of the table that names the entries; None finds it. label_column: the column that holds the labels; None is
    ``label``. classes: a file of class names, or a store, that fixes the names and numbers of the classes; None numbers
    them by their order.
    """

    by: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    classes: str | None = None

    def facts(self) -> dict[str, str | None]:
        """What a resumed conversion must have the same."""
        return {
            "labels": self.by,
            "key_column": self.key_column,
            "label_column": self.label_column,
            "classes_of": self.classes,
        }
