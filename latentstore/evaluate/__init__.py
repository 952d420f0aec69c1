"""Measures codecs on data of one's own, beside other codecs."""
