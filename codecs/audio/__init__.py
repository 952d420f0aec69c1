"""Audio to latents and back: a lapped transform and the quantisation steps."""
