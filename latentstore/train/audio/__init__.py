"""Training of decoders of audio: recordings, their windows, and the network."""
