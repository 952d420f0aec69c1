"""Commands for stores of tensors that other encoders made."""
