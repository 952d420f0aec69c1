"""The coding "step": uniform quantisation of each channel, prediction, and rANS by contexts."""
