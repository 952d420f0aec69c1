"""Converting a data set to a store."""
