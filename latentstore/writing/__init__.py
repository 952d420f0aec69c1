"""Writing stores: what a store is to hold, its shards, and publishing it."""

from latentstore.writing.spec import Sample, StoreSpec, open_writer

__all__ = ["Sample", "StoreSpec", "open_writer"]
