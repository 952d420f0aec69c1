"""Stores of named tensors that other people's encoders made (`docs/tensors.md`)."""
