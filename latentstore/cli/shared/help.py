"""How `--help` lays out its text."""

from __future__ import annotations

import argparse

__all__ = ["Help"]


class Help(argparse.HelpFormatter):
    """Wraps a description of one line, and leaves examples and other text of several lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)
