"""Images to latents and back: wavelet packets, projection to channels, the symmetries of the square."""
