"""Demonstrations: every step on a few photographs, or on audio that is made here."""
