"""Fits codecs to data of one's own."""
