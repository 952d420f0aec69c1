"""Tensors that other people's encoders made: arrays to blobs and back, by a declared coding."""

from __future__ import annotations

from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.values import as_array

__all__ = ["Tensor", "TensorCoder", "as_array"]
