"""Writing Zarr stores. What is written is described in `loaders.zarr.layout`, where its reader finds it too."""
