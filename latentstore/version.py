"""The version of latentstore, alone in a file so that every module can import it."""

__version__ = "0.1.0"
