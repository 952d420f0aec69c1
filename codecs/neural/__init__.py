"""Decoders that refine the linear synthesis by a small network. They alone here need torch, when they run."""
