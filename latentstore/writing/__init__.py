"""Writing stores: what a store is to hold, its shards, and publishing it."""

from latentstore.writing.open import open_writer
from latentstore.writing.spec import Sample, StoreSpec

__all__ = ["Sample", "StoreSpec", "open_writer"]
