"""The whole way on a few real images, or on audio made here."""
