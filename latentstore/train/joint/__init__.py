"""Joint training: the projection of a codec of images together with its decoder, at the price that the coder asks."""
