"""Writing new versions of stores of latents. Their layout is in `loaders.tensors.layout`."""
