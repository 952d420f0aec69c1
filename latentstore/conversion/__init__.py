"""Converts a data set to a store."""
