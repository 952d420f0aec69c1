"""What a codec keeps of one's own data, beside other codecs."""
