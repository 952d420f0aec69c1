"""Latents to entropy-coded bytes and back."""
