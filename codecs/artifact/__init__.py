"""Artifact files: what a codec is made of, and the artifacts shipped with the package."""
