"""Signals to latents to blobs, and back."""
