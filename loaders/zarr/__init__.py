"""The Zarr layout of a store, and reading it."""
