"""Training the decoders of other packages' checkpoints: their latents stay what they are."""
