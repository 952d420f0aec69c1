"""From the entries of a source to the signals that a codec takes: one front end per modality."""
