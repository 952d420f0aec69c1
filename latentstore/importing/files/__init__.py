"""Files of tensors: from their bytes to arrays, without running anything that they hold."""
