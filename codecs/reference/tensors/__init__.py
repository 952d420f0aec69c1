"""Blobs of tensors in slow, readable Python: docs/format.md section 11."""
