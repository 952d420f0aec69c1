"""From the tensors that people have to a store of them: files, tars, MosaicML Streaming, Zarr."""
