"""What can be done with a finished store of tensors: info, verify, export."""
