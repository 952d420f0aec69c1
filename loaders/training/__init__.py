"""What training asks of batches: random changes, random windows, other loops' interfaces, and the way to a device."""
