"""Codecs of other packages, read from their authors' checkpoints."""
