"""Evaluating codecs of images."""
