"""Fitting a codec to one's own data."""
