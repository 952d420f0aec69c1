"""Training: a decoder that refines what a codec decodes. It needs torch, and is imported only by who trains."""
