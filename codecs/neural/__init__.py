"""Decoders that refine the linear synthesis by a small network. They need NumPy alone."""
