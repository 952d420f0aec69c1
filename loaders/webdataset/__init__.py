"""The WebDataset layout of a store, and reading it."""
