"""The format in readable, slow Python: the oracle of the tests."""
