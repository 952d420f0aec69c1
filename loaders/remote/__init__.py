"""Everything that opens URLs: locations, byte ranges, the one retry policy, reading ahead.

`latentstore.zarr` is the exception: it hands the URLs of its users to zarr, as zarr's own functions do, and zarr opens
them by its own rules. Sources that are Zarr arrays go through `zarr_store` here.
"""
