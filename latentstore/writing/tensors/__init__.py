"""Writing stores of tensors: `latentstore.Writer`."""
