"""Fitting the parts of a codec: projection, lapped transform, entropy tables."""
