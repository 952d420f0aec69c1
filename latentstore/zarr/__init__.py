"""Zarr arrays of images and of latents, with the artifact that reads them beside them."""

from latentstore.zarr.api import create, open
from latentstore.zarr.copying import copy

__all__ = ["copy", "create", "open"]
