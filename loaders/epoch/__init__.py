"""Epochs: their order, the part of each rank, batches of similar samples, and the place in them."""
