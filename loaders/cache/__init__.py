"""A cache on a local disk of what was read from remote stores, shared by the processes of a machine."""
