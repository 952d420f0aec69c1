"""The command line `latentstore`."""
