"""Keeping a store of tensors as its source is: `latentstore.sync`."""
