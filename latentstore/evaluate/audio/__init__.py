"""Evaluating codecs of audio."""
